//! The numbered cases of metadata that concern reading: what other repositories do and is right, bombs, signatures.

mod createrepo_support;
mod repodata_support;

use createrepo_support::*;
use repo_model::rpm::testkit::{Field, Rpm};
use repo_model::rpm::{Head, HeadLimits, tag};
use repo_server::createrepo::{
    Addition, Change, Conflicts, FileNames, MergeInput, MergeRequest, Method, ModifyRequest,
    mergerepo, modifyrepo,
};
use repo_server::repocheck::{
    Certificate, Directory, Repomd, VerifyError, verify_foreign_signature,
};
use repo_server::repodata::{ChecksumType, Codec, Options};
use repodata_support::has_tool;
use sha2::Digest;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Replaces a metadata file's content and makes the sizes and checksums in repomd.xml those of the
/// new content, but for `open_size`, which is written as given.
fn swap(root: &Path, end: &str, packed: &[u8], open_size: Option<u64>) {
    let path = file(root, end);
    let old = fs::read(&path).unwrap();
    fs::write(&path, packed).unwrap();
    let digest = |bytes: &[u8]| repo_model::FileDigest::of(bytes).to_hex();
    let mut text = repomd(root)
        .replace(
            &format!(">{}</checksum>", digest(&old)),
            &format!(">{}</checksum>", digest(packed)),
        )
        .replace(
            &format!("<size>{}<", old.len()),
            &format!("<size>{}<", packed.len()),
        );
    if let Some(open_size) = open_size {
        let record = text.find(end).unwrap();
        let at = record + text[record..].find("<open-size>").unwrap();
        let close = at + text[at..].find("</open-size>").unwrap();
        text.replace_range(at..close, &format!("<open-size>{open_size}"));
    }
    fs::write(root.join("repodata/repomd.xml"), text).unwrap();
}

/// Four packages whose lists are not compressed; all is right with it.
fn plain() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), 4);
    run(&with_codec(root.path(), Codec::None)).unwrap();
    root
}

#[test]
fn case_01_readers_take_an_absent_epoch_for_0() {
    let root = plain();
    for list in ["primary", "filelists", "other"] {
        edit(root.path(), list, |text| {
            text.replace("<version epoch=\"0\" ver", "<version ver")
        });
    }
    let report = checked(root.path());
    assert_eq!((report.findings, report.packages_read), (Vec::new(), 4));
}

#[test]
fn case_18_repeated_entries_are_noticed_and_merged_metadata_has_each_file_once() {
    let root = plain();
    edit(root.path(), "filelists", |text| {
        let entry = "<file>/usr/bin/p00</file>";
        text.replace(entry, &format!("{entry}\n  {entry}"))
    });
    let report = checked(root.path());
    assert_eq!(codes(&report), ["package-repeated-file"].into());
    assert!(report.passed);
    let output = root.path().join("merged");
    let request = MergeRequest {
        inputs: vec![MergeInput {
            label: "twice".to_owned(),
            base: None,
            source: Box::new(Directory::new(root.path())),
        }],
        output: output.clone(),
        method: Method::First,
        conflicts: Conflicts::First,
        architectures: None,
        packages: None,
        groups: true,
        advisories: true,
        metadata: Options {
            codec: Codec::None,
            ..Options::default()
        },
        database: false,
        names: FileNames::Unique,
        at: now(),
    };
    mergerepo(&request).unwrap();
    let path = file(&output, "-filelists.xml");
    let text = fs::read_to_string(path).unwrap();
    assert_eq!(text.matches("<file>/usr/bin/p00</file>").count(), 1);
    assert_eq!(text.matches("<file>").count(), 8);
}

#[test]
fn case_19_lists_may_be_absent_and_in_different_orders() {
    let root = plain();
    edit(root.path(), "filelists", |text| {
        let (head, rest) = text.split_once("<package ").unwrap();
        let (body, tail) = rest.rsplit_once("</package>").unwrap();
        let mut packages: Vec<&str> = body.split("</package>\n<package ").collect();
        assert_eq!(packages.len(), 4);
        packages.reverse();
        let packages = packages.join("</package>\n<package ");
        format!("{head}<package {packages}</package>{tail}")
    });
    assert_eq!(checked(root.path()).findings, []);
    for list in ["filelists", "other"] {
        edit_repomd(root.path(), |text| {
            let from = text.find(&format!("  <data type=\"{list}\">")).unwrap();
            let end = "</data>\n";
            let to = from + text[from..].find(end).unwrap() + end.len();
            format!("{}{}", &text[..from], &text[to..])
        });
        assert_eq!(checked(root.path()).findings, [], "without {list}");
    }
}

#[test]
fn case_32_a_base_is_told_and_never_followed_be_it_a_path_or_a_disc() {
    for base in [
        "/srv/discs",
        "file:///srv/discs#2",
        "media:#1",
        "https://else.example/",
    ] {
        let root = plain();
        edit(root.path(), "primary", |text| {
            text.replacen("<location ", &format!("<location xml:base=\"{base}\" "), 1)
        });
        let report = checked(root.path());
        assert_eq!(codes(&report), ["package-elsewhere"].into(), "{base}");
        assert!(report.findings[0].message.contains(base));
        assert!(report.passed && report.packages_found == 3);
    }
}

#[test]
fn case_36_each_package_has_the_algorithm_that_it_says() {
    let root = plain();
    type Sum = fn(&[u8]) -> String;
    let sums: [(&str, &str, Sum); 3] = [
        ("p00-1.noarch.rpm", "sha", |bytes| {
            hex::encode(sha1::Sha1::digest(bytes))
        }),
        ("sub/p01-1.noarch.rpm", "sha512", |bytes| {
            hex::encode(sha2::Sha512::digest(bytes))
        }),
        ("p02-1.noarch.rpm", "md5", |bytes| {
            hex::encode(md5::Md5::digest(bytes))
        }),
    ];
    for (name, kind, sum) in sums {
        let bytes = fs::read(root.path().join(name)).unwrap();
        let old = repo_model::FileDigest::of(&bytes).to_hex();
        let new = sum(&bytes);
        let typed = format!("type=\"sha256\" pkgid=\"YES\">{old}");
        edit(root.path(), "primary", |text| {
            assert!(text.contains(&typed));
            text.replace(&typed, &format!("type=\"{kind}\" pkgid=\"YES\">{new}"))
        });
        for list in ["filelists", "other"] {
            edit(root.path(), list, |text| text.replace(&old, &new));
        }
    }
    let report = checked(root.path());
    assert_eq!((report.findings, report.packages_read), (Vec::new(), 4));
    // Each is really compared, by its own algorithm.
    for (name, _, _) in sums {
        let path = root.path().join(name);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(path, bytes).unwrap();
    }
    let report = checked(root.path());
    assert_eq!(codes(&report), ["package-checksum"].into());
    assert_eq!(report.errors, 3);
}

/// Adds a record to a repository.
fn add(root: &Path, record_type: &str, file_name: &str, content: &str) {
    let request = ModifyRequest {
        repository: root.to_owned(),
        at: now(),
    };
    let addition = Addition {
        record_type: record_type.to_owned(),
        file_name: file_name.to_owned(),
        bytes: content.as_bytes().to_vec(),
        codec: Codec::None,
        checksum: ChecksumType::Sha256,
        names: FileNames::Unique,
        zchunk: false,
    };
    modifyrepo(&request, vec![Change::Add(addition)]).unwrap();
}

#[test]
fn case_40_an_update_names_and_drops_what_leads_to_packages_that_are_not_here() {
    let root = plain();
    for (record_type, name) in [
        ("prestodelta", "prestodelta.xml"),
        ("deltainfo", "deltainfo.xml"),
        ("productid", "productid"),
    ] {
        add(root.path(), record_type, name, "<prestodelta/>");
    }
    edit_repomd(root.path(), |text| {
        let away = "  <data type=\"appdata\">\n    <location xml:base=\"https://else.example/\" href=\"a.xml\"/>\n  </data>\n";
        text.replace("</repomd>", &format!("{away}</repomd>"))
    });
    let mut request = with_codec(root.path(), Codec::None);
    request.keep_additional = true;
    let summary = run(&request).unwrap();
    let mut dropped = summary.dropped_records;
    dropped.sort();
    assert_eq!(dropped, ["appdata", "deltainfo", "prestodelta"]);
    let text = repomd(root.path());
    assert!(text.contains("type=\"productid\""));
    for gone in ["prestodelta", "deltainfo", "appdata", "xml:base"] {
        assert!(!text.contains(gone), "{gone}: {text}");
    }
}

#[test]
fn case_41_a_repository_with_malformed_modules_is_read() {
    let root = plain();
    add(
        root.path(),
        "modules",
        "modules.yaml",
        "---\ndata: [unclosed\n\t- tab",
    );
    let mut request = with_codec(root.path(), Codec::None);
    request.keep_additional = true;
    run(&request).unwrap();
    assert_eq!(checked(root.path()).findings, []);
    assert!(repomd(root.path()).contains("type=\"modules\""));
}

#[test]
fn case_33_bombs_are_capped_by_open_size_and_entities_are_not_expanded() {
    // One gigabyte of blanks behind 30 kilobytes, and a promise of 100 bytes.
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), 1);
    run(&with_codec(root.path(), Codec::Gzip)).unwrap();
    let mut bomb = Vec::new();
    flate2::read::GzEncoder::new(
        std::io::repeat(b' ').take(1 << 30),
        flate2::Compression::fast(),
    )
    .read_to_end(&mut bomb)
    .unwrap();
    swap(root.path(), "-other.xml.gz", &bomb, Some(100));
    let report = checked(root.path());
    let found = report
        .findings
        .iter()
        .find(|f| f.code == "file-open-size")
        .unwrap();
    assert!(found.message.contains("larger than 100 bytes"), "{found:?}");
    assert!(found.file.ends_with("-other.xml.gz"));

    // Entities that double ten times over, in each list.
    let mut entities = String::from("<!ENTITY e0 \"aaaaaaaaaa\">");
    for level in 1..30 {
        let below = level - 1;
        entities.push_str(&format!("<!ENTITY e{level} \"&e{below};&e{below};\">"));
    }
    for (list, tag) in [
        ("primary", "metadata"),
        ("filelists", "filelists"),
        ("other", "otherdata"),
    ] {
        let root = tempfile::tempdir().unwrap();
        fill(root.path(), 1);
        run(&with_codec(root.path(), Codec::None)).unwrap();
        let text = format!("<!DOCTYPE x [{entities}]><{tag}>&e29;</{tag}>");
        swap(root.path(), &format!("-{list}.xml"), text.as_bytes(), None);
        let report = checked(root.path());
        let found = report
            .findings
            .iter()
            .find(|f| f.code == "file-malformed")
            .unwrap();
        assert!(found.message.contains("document type"), "{list}: {found:?}");
        assert_eq!(found.offset, Some(0));
        let undeclared = format!("<{tag}>&e29;</{tag}>");
        swap(
            root.path(),
            &format!("-{list}.xml"),
            undeclared.as_bytes(),
            None,
        );
        let report = checked(root.path());
        let found = report
            .findings
            .iter()
            .find(|f| f.code == "file-malformed")
            .unwrap();
        assert!(
            found.message.contains("unknown entity `e29`"),
            "{list}: {found:?}"
        );
        assert_eq!(found.offset, Some(tag.len() as u64 + 2));
    }
    let error = Repomd::parse(format!("<!DOCTYPE x [{entities}]><repomd/>").as_bytes());
    assert!(error.unwrap_err().to_string().contains("document type"));
}

/// The key of the package whose signature names it by its id alone.
const OLD_KEY: &str = "rpm.org-rsa-2048-test";

fn keys(directory: &Path, names: &[&str]) -> Vec<Certificate> {
    let read = |name: &&str| {
        let bytes = fs::read(directory.join("keys").join(match *name {
            OLD_KEY => format!("{name}.asc"),
            name => format!("rpm-testkey-{name}.asc"),
        }))
        .unwrap();
        Certificate::all_from_bytes(&bytes).unwrap()
    };
    names.iter().flat_map(read).collect()
}

fn head(path: PathBuf) -> Head {
    Head::read(fs::File::open(path).unwrap(), &HeadLimits::default()).unwrap()
}

#[test]
fn case_44_signatures_of_versions_4_and_6_and_several_at_once_are_verified_by_key_not_by_id() {
    let Some(directory) = real_packages() else {
        return;
    };
    let all = [
        "v4-rsa4096",
        "v4-ed25519",
        "v4-ecdsa-nistp256",
        "v6-ed25519",
        "v6-rsa4k",
        "v6-mldsa65-ed25519",
        OLD_KEY,
    ];
    for (package, signers, signatures) in [
        ("v4/signed-rsa4096.noarch.rpm", &["v4-rsa4096"][..], 1),
        ("v4/signed-ed25519.noarch.rpm", &["v4-ed25519"], 1),
        ("v4/signed-ecdsa.noarch.rpm", &["v4-ecdsa-nistp256"], 1),
        (
            "v4/signed-ima-multiple.noarch.rpm",
            &["v4-rsa4096", "v4-ed25519", "v4-ecdsa-nistp256"],
            3,
        ),
        ("v6/signed-ed25519.noarch.rpm", &["v6-ed25519"], 1),
        ("v6/signed-rsa4k.noarch.rpm", &["v6-rsa4k"], 1),
        (
            "v6/signed-mldsa65-ed25519.noarch.rpm",
            &["v6-mldsa65-ed25519"],
            1,
        ),
        ("v4/hello-2.0-1.x86_64-signed.rpm", &[OLD_KEY], 1),
        (
            "v6/signed-multiple.noarch.rpm",
            &["v6-ed25519", "v6-rsa4k"],
            2,
        ),
    ] {
        let head = head(directory.join(package));
        let verified = verify_foreign_signature(&head, &keys(&directory, signers));
        assert_eq!(verified.unwrap(), signatures, "{package}");
        assert_eq!(
            verify_foreign_signature(&head, &keys(&directory, &all)).unwrap(),
            signatures
        );
        // One signer fewer: a signature that nobody vouches for is not passed over.
        let others: Vec<&str> = all.into_iter().filter(|name| *name != signers[0]).collect();
        let outcome = verify_foreign_signature(&head, &keys(&directory, &others));
        assert!(
            matches!(outcome, Err(VerifyError::Bad { .. })),
            "{package}: {outcome:?}"
        );
    }
    let unsigned = head(directory.join("v6/rpm-basic-none.noarch.rpm"));
    let outcome = verify_foreign_signature(&unsigned, &keys(&directory, &all));
    assert!(matches!(outcome, Err(VerifyError::Missing)), "{outcome:?}");
}

#[test]
fn case_44_a_subkey_may_sign() {
    if !has_tool("gpg") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let gpg = |arguments: &[&str]| {
        let mut command = Command::new("gpg");
        command
            .env("GNUPGHOME", home.path())
            .args(["--batch", "--quiet", "--passphrase", ""]);
        let output = command
            .args(["--pinentry-mode", "loopback"])
            .args(arguments)
            .output();
        let output = output.unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        output.stdout
    };
    gpg(&[
        "--quick-generate-key",
        "Sub <sub@example.org>",
        "ed25519",
        "cert",
        "never",
    ]);
    let listed = gpg(&["--with-colons", "--list-keys"]);
    let listed = String::from_utf8(listed).unwrap();
    let primary = listed.lines().find(|line| line.starts_with("fpr")).unwrap();
    let primary = primary.split(':').nth(9).unwrap().to_owned();
    gpg(&["--quick-add-key", &primary, "ed25519", "sign", "never"]);

    let rpm = Rpm::binary("signed");
    let unsigned = Head::read(&rpm.bytes()[..], &HeadLimits::default()).unwrap();
    let (message, signature) = (home.path().join("header"), home.path().join("header.sig"));
    fs::write(&message, unsigned.main_bytes()).unwrap();
    gpg(&[
        "--detach-sign",
        "--output",
        signature.to_str().unwrap(),
        message.to_str().unwrap(),
    ]);
    let signature = fs::read(signature).unwrap();
    let signed = rpm
        .set_signature(tag::SIG_DSAHEADER, Field::Bin(signature))
        .bytes();
    let head = Head::read(&signed[..], &HeadLimits::default()).unwrap();
    let certificate = Certificate::all_from_bytes(&gpg(&["--export", &primary])).unwrap();
    assert_eq!(verify_foreign_signature(&head, &certificate).unwrap(), 1);
    // The primary key alone, without the subkey, vouches for nothing.
    let alone = gpg(&["--export", &format!("{primary}!")]);
    let alone = Certificate::all_from_bytes(&alone).unwrap();
    let outcome = verify_foreign_signature(&head, &alone);
    assert!(
        matches!(outcome, Err(VerifyError::Bad { .. })),
        "{outcome:?}"
    );
    // Its agent must not outlive the test.
    let killed = Command::new("gpgconf")
        .env("GNUPGHOME", home.path())
        .args(["--kill", "all"])
        .status();
    assert!(killed.unwrap().success());
}
