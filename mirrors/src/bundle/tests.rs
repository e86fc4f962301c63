use super::*;
use crate::sync::Unwatched;
use crate::tar;
use repo_model::dsse::StatementKey;
use repo_model::statement::{Statement, Subject};
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 86_400;

/// A connected side with a tree, and one without a network.
struct Kit {
    root: tempfile::TempDir,
    key: StatementKey,
}

impl Kit {
    fn new() -> Self {
        Self {
            root: tempfile::tempdir().unwrap(),
            key: StatementKey::from_seed(&[7; 32]).unwrap(),
        }
    }

    fn connected(&self) -> PathBuf {
        self.root.path().join("connected")
    }

    fn apart(&self) -> PathBuf {
        self.root.path().join("apart")
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.connected().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A channel at a release with this one package.
    fn publish(&self, channel: &str, text: &str) {
        self.put(&format!("{channel}/Packages/{text}.rpm"), text);
        let repodata = self.connected().join(channel).join("repodata");
        let _ = fs::remove_dir_all(repodata);
        for name in ["primary", "repomd.xml", "repomd.xml.asc"] {
            self.put(
                &format!("{channel}/repodata/{name}"),
                &format!("{name} of {text}"),
            );
        }
        self.put(&format!("{channel}.repo"), "[repo]");
    }

    fn bundle_at(&self, created: i64) -> (Created, Vec<u8>) {
        let list = write_have(&have(&self.apart()).unwrap());
        let mut out = Vec::new();
        let created = create(
            &Create {
                directory: &self.connected(),
                tree: "tree",
                have: &read_have(&list).unwrap(),
                created: Timestamp::from_unix_secs(created),
                expires: Timestamp::from_unix_secs(created + 7 * DAY),
                key: &self.key,
            },
            &mut out,
        );
        (created.unwrap(), out)
    }

    fn bundle(&self) -> Vec<u8> {
        self.bundle_at(NOW).1
    }

    fn apply_at(&self, bundle: &[u8], now: i64) -> Result<Applied, BundleError> {
        apply(
            &Apply {
                directory: &self.apart(),
                trusted: &[self.key.public()],
                grace: Duration::from_secs(3600),
                now: Timestamp::from_unix_secs(now),
                allow_older: false,
                allow_other_tree: false,
            },
            bundle,
            &Unwatched,
        )
    }

    fn apply(&self, bundle: &[u8]) -> Result<Applied, BundleError> {
        self.apply_at(bundle, NOW)
    }

    /// A bundle with this list and these further files, rightly signed.
    fn crafted(&self, list: &str, files: &[(&str, &[u8])]) -> Vec<u8> {
        let envelope = Statement::new(
            BUNDLE,
            vec![Subject::file(FILES, FileDigest::of(list.as_bytes()))],
            BundlePredicate {
                created: Timestamp::from_unix_secs(NOW),
                expires: Timestamp::from_unix_secs(NOW + DAY),
                files: list.lines().count() as u64 - 1,
                tree: "tree".to_owned(),
            },
        );
        let envelope = envelope.sign(&self.key).unwrap().to_json();
        let head: [(&str, &[u8]); 2] = [(HEAD, &envelope), (FILES, list.as_bytes())];
        packed(head.iter().chain(files))
    }
}

fn packed<'a>(files: impl Iterator<Item = &'a (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, content) in files {
        tar::write_file(&mut archive, name, content).unwrap();
    }
    tar::finish(&mut archive).unwrap();
    zstd::encode_all(&archive[..], 1).unwrap()
}

/// Every file below a directory with its text, ours left out.
fn files(root: &Path) -> BTreeMap<String, String> {
    let names = crate::sync::tree::files_below(root).unwrap();
    let served = names
        .into_iter()
        .filter(|name| !name.starts_with(OWN_DIRECTORY));
    served
        .map(|name| {
            let text = fs::read_to_string(root.join(&name)).unwrap();
            (name, text)
        })
        .collect()
}

#[test]
fn a_bundle_carries_what_the_other_side_lacks_and_applying_it_again_changes_nothing() {
    let kit = Kit::new();
    kit.publish("stable", "a");
    let (created, bundle) = kit.bundle_at(NOW);
    assert_eq!((created.files, created.objects), (5, 5));
    let applied = kit.apply(&bundle).unwrap();
    assert_eq!((applied.objects, applied.tree.switched), (5, 1));
    assert_eq!(files(&kit.apart()), files(&kit.connected()));
    assert!(!kit.apart().join(".hallmark/bundle").exists());
    let again = kit.apply(&bundle).unwrap();
    assert_eq!((again.objects, again.tree.placed), (0, 0));

    kit.publish("stable", "b");
    let (created, bundle) = kit.bundle_at(NOW + DAY);
    assert_eq!(
        (created.files, created.objects),
        (6, 4),
        "the rest is there"
    );
    kit.apply_at(&bundle, NOW + DAY).unwrap();
    let there = files(&kit.apart());
    for (path, text) in files(&kit.connected()) {
        assert_eq!(there.get(&path), Some(&text), "{path}");
    }
}

#[test]
fn what_was_in_one_channel_goes_to_another_while_that_changes() {
    let kit = Kit::new();
    kit.publish("preview", "a");
    kit.apply(&kit.bundle()).unwrap();
    // `stable` gets what `preview` has, which gets something new: names are exchanged in this order.
    kit.publish("preview", "b");
    kit.publish("stable", "a");
    let (created, bundle) = kit.bundle_at(NOW + 1);
    assert_eq!(created.objects, 4);
    kit.apply_at(&bundle, NOW + 1).unwrap();
    let there = files(&kit.apart());
    assert_eq!(there["preview/repodata/repomd.xml"], "repomd.xml of b");
    assert_eq!(there["stable/repodata/repomd.xml"], "repomd.xml of a");
    assert_eq!(
        there["stable/repodata/repomd.xml.asc"],
        "repomd.xml.asc of a"
    );
}

#[test]
fn a_bundle_that_is_cut_short_anywhere_shows_nothing_and_the_whole_one_goes_on() {
    let kit = Kit::new();
    kit.publish("stable", "a");
    let large: String = (0..40_000)
        .map(|n: u32| format!("{:x}", n.wrapping_mul(2_654_435_761)))
        .collect();
    kit.put("stable/Packages/large.rpm", &large);
    let bundle = kit.bundle();
    let mut kept = 0;
    for part in 0..40 {
        let cut = bundle.len() * part / 40;
        let error = kit.apply(&bundle[..cut]).unwrap_err();
        let BundleError::CutShort { objects, .. } = error else {
            panic!("cut at {cut}: {error}");
        };
        kept += objects;
        assert!(files(&kit.apart()).is_empty(), "cut at {cut}");
    }
    let applied = kit.apply(&bundle).unwrap();
    assert!(
        kept > 0 && applied.objects + kept == 6,
        "{kept} and {applied:?}"
    );
    assert_eq!(files(&kit.apart()), files(&kit.connected()));
}

#[test]
fn times_and_signers_are_judged_before_anything_is_written() {
    let kit = Kit::new();
    kit.publish("stable", "a");
    let bundle = kit.bundle();
    let late = kit.apply_at(&bundle, NOW + 7 * DAY).unwrap_err();
    assert!(matches!(late, BundleError::Expired { .. }), "{late}");
    let early = kit.apply_at(&bundle, NOW - 2 * DAY).unwrap_err();
    assert!(matches!(early, BundleError::FromFuture { .. }), "{early}");
    let stranger = Kit {
        key: StatementKey::from_seed(&[8; 32]).unwrap(),
        root: tempfile::tempdir().unwrap(),
    };
    let error = stranger.apply(&bundle).unwrap_err();
    assert!(matches!(error, BundleError::Untrusted), "{error}");
    assert!(!kit.apart().exists() && !stranger.apart().exists());

    let (_, newer) = kit.bundle_at(NOW + DAY);
    kit.apply_at(&newer, NOW + DAY).unwrap();
    let older = kit.apply_at(&bundle, NOW + DAY).unwrap_err();
    assert!(matches!(older, BundleError::Older { .. }), "{older}");
}

#[test]
fn lists_that_lead_elsewhere_are_refused_although_they_are_signed() {
    let kit = Kit::new();
    let digest = FileDigest::of(b"x");
    let object = object_name(digest);
    let content: &[(&str, &[u8])] = &[(&object, b"x")];
    let listed = |paths: &[&str]| {
        let lines = paths.iter().map(|path| format!("{digest} 1 {path}\n"));
        format!("{FILES_SCHEMA}\n{}", lines.collect::<String>())
    };
    for bad in [
        &["../x"][..],
        &["/x"],
        &["a/../x"],
        &["a//x"],
        &[".hallmark/export"],
        &["a/.hallmark/x"],
        &["b", "a"],
        &["a", "a"],
        &["a", "a/b"],
        &["a\u{1b}[31m"],
    ] {
        let error = kit.apply(&kit.crafted(&listed(bad), content)).unwrap_err();
        assert!(
            matches!(error, BundleError::Malformed { .. }),
            "{bad:?}: {error}"
        );
    }
    for bad in ["", "# other\n", &format!("{FILES_SCHEMA}\nrubbish\n")] {
        assert!(
            kit.apply(&kit.crafted(&format!("{bad}\n"), content))
                .is_err()
        );
    }
    assert!(!kit.apart().exists());
    kit.apply(&kit.crafted(&listed(&["a", "b/c"]), content))
        .unwrap();
    assert_eq!(files(&kit.apart()).len(), 2);
}

#[test]
fn objects_that_are_not_as_listed_or_not_listed_are_refused_and_none_is_shown() {
    let kit = Kit::new();
    let digest = FileDigest::of(b"x");
    let (object, other) = (object_name(digest), object_name(FileDigest::of(b"y")));
    let list = format!("{FILES_SCHEMA}\n{digest} 1 a\n");
    let bomb = vec![0; 1 << 20];
    for (what, files) in [
        ("other bytes", vec![(object.as_str(), &b"y"[..])]),
        ("another size", vec![(object.as_str(), &bomb[..])]),
        ("not listed", vec![(other.as_str(), &b"y"[..])]),
        ("a path", vec![("../../x", &b"x"[..])]),
        ("upper case", vec![("sha256/AB", &b"x"[..])]),
    ] {
        let error = kit.apply(&kit.crafted(&list, &files)).unwrap_err();
        assert!(
            matches!(error, BundleError::Malformed { .. }),
            "{what}: {error}"
        );
    }
    let error = kit.apply(&kit.crafted(&list, &[])).unwrap_err();
    assert!(
        matches!(error, BundleError::Lacking { count: 1, .. }),
        "{error}"
    );
    assert!(files(&kit.apart()).is_empty());
    // Rubbish, and a list that is not the signed one.
    for rubbish in [&b""[..], b"rubbish", &packed([("x", &b"y"[..])].iter())] {
        assert!(kit.apply(rubbish).is_err());
    }
    let good = kit.crafted(&list, &[(&object, b"x")]);
    let mut archive = zstd::decode_all(&good[..]).unwrap();
    let at = archive
        .windows(4)
        .rposition(|window| window == b" 1 a")
        .unwrap();
    archive[at + 3] = b'b';
    let error = kit
        .apply(&zstd::encode_all(&archive[..], 1).unwrap())
        .unwrap_err();
    assert!(matches!(error, BundleError::Malformed { .. }), "{error}");
    kit.apply(&good).unwrap();
}

#[test]
fn bundles_of_rubbish_from_a_fixed_seed_never_panic_and_show_nothing() {
    let kit = Kit::new();
    kit.publish("stable", "a");
    let archive = zstd::decode_all(&kit.bundle()[..]).unwrap();
    let mut dice = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..300 {
        let mut changed = archive.clone();
        for _ in 0..3 {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            let at = dice as usize % changed.len();
            changed[at] = (dice >> 32) as u8;
        }
        let bundle = zstd::encode_all(&changed[..], 1).unwrap();
        match kit.apply(&bundle) {
            Err(_) => assert!(files(&kit.apart()).is_empty()),
            // Only what nothing depends on was changed.
            Ok(_) => {
                assert_eq!(files(&kit.apart()), files(&kit.connected()));
                fs::remove_dir_all(kit.apart()).unwrap();
            }
        }
    }
}

#[test]
fn a_list_of_what_is_there_reads_back_and_a_damaged_one_names_its_line() {
    let kit = Kit::new();
    kit.publish("stable", "a");
    let digests = have(&kit.connected()).unwrap();
    assert_eq!(digests.len(), 5);
    let text = write_have(&digests);
    assert_eq!(read_have(&text).unwrap(), digests.into_iter().collect());
    assert_eq!(read_have("rubbish"), Err(1));
    assert_eq!(read_have(&format!("{text}rubbish\n")), Err(7));
}

#[test]
fn a_repository_that_is_the_whole_tree_changes_in_one_step() {
    let kit = Kit::new();
    let publish = |text: &str| {
        for name in ["primary", "repomd.xml", "repomd.xml.asc"] {
            kit.put(&format!("repodata/{name}"), &format!("{name} of {text}"));
        }
        kit.put(&format!("Packages/{text}.rpm"), text);
    };
    publish("a");
    let applied = kit.apply(&kit.bundle()).unwrap();
    assert_eq!(applied.tree.switched, 1);
    publish("b");
    let (_, bundle) = kit.bundle_at(NOW + 1);
    let applied = kit.apply_at(&bundle, NOW + 1).unwrap();
    assert_eq!(applied.tree.switched, 1);
    let there = files(&kit.apart());
    assert_eq!(there["repodata/repomd.xml"], "repomd.xml of b");
    assert_eq!(there["repodata/repomd.xml.asc"], "repomd.xml.asc of b");
}

#[test]
fn a_bundle_is_marked_as_applied_before_anything_of_it_can_be_seen() {
    let kit = Kit::new();
    kit.publish("stable", "a");
    let older = kit.bundle();
    kit.publish("stable", "b");
    let (_, newer) = kit.bundle_at(NOW + 1);
    // A file stands where the channel's directory should be: putting the tree in place fails.
    fs::create_dir_all(kit.apart()).unwrap();
    fs::write(kit.apart().join("stable"), "in the way").unwrap();
    let error = kit.apply_at(&newer, NOW + 1).unwrap_err();
    assert!(matches!(error, BundleError::Export(_)), "{error}");
    fs::remove_file(kit.apart().join("stable")).unwrap();
    let error = kit.apply_at(&older, NOW + 1).unwrap_err();
    assert!(matches!(error, BundleError::Older { .. }), "{error}");
    kit.apply_at(&newer, NOW + 1).unwrap();
    let there = files(&kit.apart());
    assert_eq!(there["stable/repodata/repomd.xml"], "repomd.xml of b");
}

#[test]
fn a_bundle_of_another_tree_is_refused_unless_it_is_meant() {
    let kit = Kit::new();
    kit.publish("stable", "a");
    kit.apply(&kit.bundle()).unwrap();
    let (have, directory) = (HashSet::new(), kit.connected());
    let request = |tree| Create {
        directory: &directory,
        tree,
        have: &have,
        created: Timestamp::from_unix_secs(NOW + 1),
        expires: Timestamp::from_unix_secs(NOW + DAY),
        key: &kit.key,
    };
    let mut other = Vec::new();
    create(&request("other"), &mut other).unwrap();
    let error = kit.apply_at(&other, NOW + 1).unwrap_err();
    assert!(matches!(error, BundleError::OtherTree { .. }), "{error}");
    let (apart, trusted) = (kit.apart(), [kit.key.public()]);
    let meant = Apply {
        directory: &apart,
        trusted: &trusted,
        grace: Duration::from_secs(3600),
        now: Timestamp::from_unix_secs(NOW + 1),
        allow_older: false,
        allow_other_tree: true,
    };
    apply(&meant, &other[..], &Unwatched).unwrap();
    kit.apply_at(&other, NOW + 1).unwrap();
    for name in ["", "a\nb"] {
        let error = create(&request(name), Vec::new()).unwrap_err();
        assert!(matches!(error, BundleError::Name { .. }), "{error}");
    }
}

#[test]
fn no_bundle_is_made_while_something_is_at_work_below_the_tree() {
    let kit = Kit::new();
    kit.publish("stable", "a");
    let own = kit.connected().join("stable").join(OWN_DIRECTORY);
    fs::create_dir_all(&own).unwrap();
    let held = crate::sync::site::lock(&own).unwrap();
    let (have, directory) = (HashSet::new(), kit.connected());
    let request = Create {
        directory: &directory,
        tree: "tree",
        have: &have,
        created: Timestamp::from_unix_secs(NOW),
        expires: Timestamp::from_unix_secs(NOW + DAY),
        key: &kit.key,
    };
    let error = create(&request, Vec::new()).unwrap_err();
    let BundleError::Busy { directory } = error else {
        panic!("{error}");
    };
    assert_eq!(directory, kit.connected().join("stable"));
    drop(held);
    create(&request, Vec::new()).unwrap();
}
