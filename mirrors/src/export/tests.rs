use super::*;
use crate::sync::Unwatched;
use std::collections::BTreeMap;

/// A store of objects and a directory to export to.
struct Kit {
    root: tempfile::TempDir,
}

impl Kit {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("objects")).unwrap();
        Self { root }
    }

    fn object(&self, text: &str) -> Content {
        let digest = FileDigest::of(text.as_bytes());
        let path = self.root.path().join("objects").join(digest.to_hex());
        if !path.exists() {
            fs::write(&path, text).unwrap();
        }
        Content::Object { path, digest }
    }

    fn entry(&self, path: &str, text: &str) -> Entry {
        Entry {
            path: path.to_owned(),
            content: self.object(text),
        }
    }

    /// A channel whose only package has this text.
    fn tree(&self, text: &str) -> Tree {
        let digest = FileDigest::of(text.as_bytes());
        Tree {
            content: vec![self.entry(&format!("stable/Packages/{text}.rpm"), text)],
            switched: vec![Switched {
                path: "stable/repodata".to_owned(),
                files: vec![
                    self.entry(
                        &format!("stable/repodata/{digest}-primary"),
                        &format!("primary of {text}"),
                    ),
                    self.entry("stable/repodata/repomd.xml", &format!("repomd of {text}")),
                    self.entry(
                        "stable/repodata/repomd.xml.asc",
                        &format!("signature of {text}"),
                    ),
                ],
            }],
            pointers: vec![Entry {
                path: "stable.repo".to_owned(),
                content: Content::Bytes(b"[stable]".to_vec()),
            }],
        }
    }

    fn directory(&self) -> PathBuf {
        self.root.path().join("out")
    }

    fn export(&self, tree: &Tree, now: i64) -> Result<Summary, ExportError> {
        let request = Request {
            directory: self.directory(),
            grace: Duration::from_secs(100),
            now: Timestamp::from_unix_secs(now),
        };
        export(tree, &request, &Unwatched)
    }

    /// Every file of the export with its text, ours left out.
    fn files(&self) -> BTreeMap<String, String> {
        let names = crate::sync::tree::files_below(&self.directory()).unwrap();
        let served = names
            .into_iter()
            .filter(|name| !name.starts_with(OWN_DIRECTORY));
        served
            .map(|name| {
                let text = fs::read_to_string(self.directory().join(&name)).unwrap();
                (name, text)
            })
            .collect()
    }
}

#[test]
fn a_tree_is_linked_once_and_the_second_export_finds_nothing_to_do() {
    let kit = Kit::new();
    let tree = kit.tree("a");
    let first = kit.export(&tree, 0).unwrap();
    assert_eq!((first.files, first.placed, first.switched), (5, 5, 1));
    assert_eq!(first.copied_bytes, 0);
    let files = kit.files();
    assert_eq!(files["stable/Packages/a.rpm"], "a");
    assert_eq!(files["stable/repodata/repomd.xml"], "repomd of a");
    assert_eq!(files["stable.repo"], "[stable]");
    let Content::Object { path, .. } = &tree.content[0].content else {
        panic!("it is an object");
    };
    let linked = fs::metadata(kit.directory().join("stable/Packages/a.rpm")).unwrap();
    assert_eq!(linked.ino(), fs::metadata(path).unwrap().ino());

    let second = kit.export(&tree, 50).unwrap();
    assert_eq!((second.placed, second.switched, second.deleted), (0, 0, 0));
    assert_eq!(kit.files(), files);
}

#[test]
fn what_is_superseded_stays_for_the_grace_and_goes_then() {
    let kit = Kit::new();
    kit.export(&kit.tree("a"), 0).unwrap();
    let old_primary = format!("stable/repodata/{}-primary", FileDigest::of(b"a"));
    fs::write(kit.directory().join("stable/repodata/own-file"), "own").unwrap();

    kit.export(&kit.tree("b"), 1_000).unwrap();
    let files = kit.files();
    assert_eq!(files["stable/repodata/repomd.xml"], "repomd of b");
    assert_eq!(files["stable/repodata/repomd.xml.asc"], "signature of b");
    assert_eq!(files["stable/Packages/a.rpm"], "a");
    assert!(files.contains_key(&old_primary));

    let late = kit.export(&kit.tree("b"), 1_100).unwrap();
    assert_eq!(late.switched, 1);
    let files = kit.files();
    assert!(!files.contains_key("stable/Packages/a.rpm") && !files.contains_key(&old_primary));
    assert_eq!(files["stable/repodata/own-file"], "own");
    let after = kit.export(&kit.tree("b"), 1_200).unwrap();
    assert_eq!((after.placed, after.switched, after.deleted), (0, 0, 0));
}

#[test]
fn what_was_touched_lost_or_replaced_is_put_right() {
    let kit = Kit::new();
    let tree = kit.tree("a");
    kit.export(&tree, 0).unwrap();
    let files = kit.files();
    let at = |path: &str| kit.directory().join(path);
    fs::remove_file(at("stable/Packages/a.rpm")).unwrap();
    fs::remove_file(at("stable/repodata/repomd.xml.asc")).unwrap();
    fs::remove_file(at("stable.repo")).unwrap();
    fs::write(at("stable.repo"), "[other!]").unwrap();
    let mended = kit.export(&tree, 10).unwrap();
    assert_eq!((mended.placed, mended.switched), (3, 1));
    assert_eq!(kit.files(), files);
    // Without what it remembers, too.
    fs::remove_file(at(".hallmark/export")).unwrap();
    kit.export(&tree, 20).unwrap();
    assert_eq!(kit.files(), files);
}

#[test]
fn a_tree_that_is_gone_is_removed_with_its_directories() {
    let kit = Kit::new();
    kit.export(&kit.tree("a"), 0).unwrap();
    kit.export(&Tree::default(), 10).unwrap();
    assert_eq!(kit.files().len(), 5);
    let gone = kit.export(&Tree::default(), 200).unwrap();
    assert_eq!(gone.deleted, 5);
    assert!(kit.files().is_empty());
    assert!(!kit.directory().join("stable").exists());
}

#[test]
fn a_lost_object_stops_the_export_before_anything_changes() {
    let kit = Kit::new();
    kit.export(&kit.tree("a"), 0).unwrap();
    let files = kit.files();
    let tree = kit.tree("b");
    let Content::Object { path, .. } = &tree.switched[0].files[0].content else {
        panic!("it is an object");
    };
    fs::remove_file(path).unwrap();
    let error = kit.export(&tree, 10).unwrap_err();
    assert!(matches!(error, ExportError::Local { .. }), "{error}");
    assert_eq!(kit.files(), files);
}

#[test]
fn paths_that_lead_elsewhere_or_are_there_twice_are_refused_before_anything_is_written() {
    let kit = Kit::new();
    for path in ["../x", "/etc/x", "a//b", "a/../b", ".hallmark/lock", ""] {
        let mut tree = kit.tree("a");
        tree.content.push(kit.entry(path, "x"));
        let error = kit.export(&tree, 0).unwrap_err();
        assert!(matches!(error, ExportError::Path { .. }), "{path}: {error}");
    }
    let mut tree = kit.tree("a");
    tree.pointers.push(kit.entry("stable/Packages/a.rpm", "x"));
    assert!(matches!(
        kit.export(&tree, 0),
        Err(ExportError::Path { .. })
    ));
    let mut tree = kit.tree("a");
    tree.switched[0].files.push(kit.entry("elsewhere/x", "x"));
    assert!(matches!(
        kit.export(&tree, 0),
        Err(ExportError::Path { .. })
    ));
    assert!(!kit.directory().exists());
}

#[test]
fn two_exports_to_one_directory_do_not_meet() {
    let kit = Kit::new();
    let own = kit.directory().join(OWN_DIRECTORY);
    fs::create_dir_all(&own).unwrap();
    let held = lock(&own).unwrap();
    assert!(held.is_some());
    let error = kit.export(&kit.tree("a"), 0).unwrap_err();
    assert!(matches!(error, ExportError::Busy { .. }), "{error}");
    drop(held);
    kit.export(&kit.tree("a"), 0).unwrap();
}

#[test]
fn a_file_with_the_size_and_the_time_of_another_is_not_taken_for_it() {
    let kit = Kit::new();
    kit.export(&kit.tree("a"), 0).unwrap();
    let place = "stable/Packages/a.rpm";
    let mut tree = kit.tree("a");
    tree.content = vec![kit.entry(place, "b")];
    let Content::Object { path, .. } = &tree.content[0].content else {
        panic!("it is an object");
    };
    let there = fs::metadata(kit.directory().join(place)).unwrap();
    let object = fs::File::options().write(true).open(path).unwrap();
    object.set_modified(there.modified().unwrap()).unwrap();
    let changed = kit.export(&tree, 10).unwrap();
    assert_eq!(changed.placed, 1);
    assert_eq!(kit.files()[place], "b");

    // A copy that is right stays; what else has its size and time does not.
    let at = kit.directory().join(place);
    for (text, placed) in [("b", 0), ("c", 1)] {
        fs::remove_file(&at).unwrap();
        fs::write(&at, text).unwrap();
        let copy = fs::File::options().write(true).open(&at).unwrap();
        copy.set_modified(there.modified().unwrap()).unwrap();
        assert_eq!(kit.export(&tree, 20).unwrap().placed, placed, "{text}");
        assert_eq!(kit.files()[place], "b");
    }
}
