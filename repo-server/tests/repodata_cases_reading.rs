//! The numbered cases of metadata that concern reading: bombs and signatures of other repositories.

mod createrepo_support;
mod repodata_support;

use createrepo_support::*;
use repo_model::rpm::{Head, HeadLimits};
use repo_server::repocheck::{Certificate, Repomd, VerifyError, verify_foreign_signature};
use repo_server::repodata::Codec;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

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

fn keys(directory: &Path, names: &[&str]) -> Vec<Certificate> {
    let read = |name: &&str| {
        let bytes = fs::read(
            directory
                .join("keys")
                .join(format!("rpm-testkey-{name}.asc")),
        )
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
