//! Signatures put in and taken out again, on real packages and with the real rpm.

mod common;

use common::{corpus, has_tool, rows};
use repo_model::rpm::signature::{
    self, LegacySlot, OpenPgpSignature, SpliceError, found_signatures, openpgp_signatures,
    stripped, with_openpgp,
};
use repo_model::rpm::{Head, tag};
use std::path::{Path, PathBuf};
use std::process::Command;

fn read(path: &Path) -> (Vec<u8>, Head) {
    let bytes = std::fs::read(path).unwrap();
    let head = Head::parse(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (bytes, head)
}

/// The file with another signature header.
fn resigned(bytes: &[u8], head: &Head, signature: &[u8]) -> Vec<u8> {
    [
        head.lead(),
        signature,
        head.main_bytes(),
        &bytes[head.payload_offset() as usize..],
    ]
    .concat()
}

fn fake(bytes: usize, legacy: Option<LegacySlot>) -> OpenPgpSignature {
    OpenPgpSignature {
        packet: (0..bytes).map(|number| (number * 7 + 1) as u8).collect(),
        legacy,
    }
}

/// Sizes of real signatures (Ed25519 118, RSA-2048 307, RSA-4096 566, ML-DSA-65+Ed25519 3464,
/// ML-DSA-87+Ed448 about 4900), alone and together, and some that just do or do not fit.
fn signature_sets() -> Vec<Vec<OpenPgpSignature>> {
    let mut sets = vec![
        vec![fake(118, Some(LegacySlot::Dsa))],
        vec![fake(566, Some(LegacySlot::Rsa))],
        vec![
            fake(566, Some(LegacySlot::Rsa)),
            fake(118, Some(LegacySlot::Dsa)),
        ],
        vec![fake(566, Some(LegacySlot::Rsa)), fake(3464, None)],
        vec![
            fake(118, Some(LegacySlot::Dsa)),
            fake(4900, None),
            fake(566, None),
        ],
    ];
    sets.extend(
        [
            1, 2, 3, 1500, 1700, 2000, 3000, 3050, 3060, 3070, 3080, 3090, 3464, 20_000,
        ]
        .map(|size| vec![fake(size, None)]),
    );
    sets
}

fn unsigned(folder: &Path) -> Vec<PathBuf> {
    let rows = rows(folder);
    let unsigned = rows.iter().filter(|row| row[5] == "no");
    unsigned.map(|row| folder.join(&row[0])).collect()
}

/// Returns how many sets of signatures were refused; the others come back exactly.
fn comes_back_unsigned(path: &Path) -> usize {
    let (bytes, head) = read(path);
    let path = path.display();
    let mut refused = 0;
    for set in signature_sets() {
        let spliced = match with_openpgp(&head, &set) {
            Ok(spliced) => spliced,
            Err(SpliceError::NotRestorable { .. }) => {
                refused += 1;
                continue;
            }
            Err(other) => panic!("{path}: {other}"),
        };
        assert_eq!(spliced.len() % 8, 0);
        let signed = resigned(&bytes, &head, &spliced);
        let signed_head = Head::parse(&signed).unwrap();
        assert_eq!(
            stripped(&signed_head),
            head.signature_bytes(),
            "{path}: {:?}",
            set[0].packet.len()
        );
        assert_eq!(signed_head.header_digest(), head.header_digest());
        let packets: Vec<_> = set
            .iter()
            .map(|signature| signature.packet.clone())
            .collect();
        for packet in openpgp_signatures(&signed_head) {
            assert!(packets.contains(&packet), "{path}");
        }
        assert_eq!(
            openpgp_signatures(&signed_head).len(),
            packets.len(),
            "{path}"
        );
        // Every other tag is as it was, and what is left of the reserved space is zeros.
        for (number, kind, count) in head.signature().tags() {
            if [
                tag::SIG_HEADERSIGNATURES,
                tag::SIG_RESERVEDSPACE,
                tag::SIG_RESERVED,
            ]
            .contains(&number)
            {
                continue;
            }
            assert!(
                signed_head
                    .signature()
                    .tags()
                    .any(|row| row == (number, kind, count))
            );
            assert_eq!(
                signed_head.signature().get(number),
                head.signature().get(number),
                "{path}"
            );
        }
        let reserved = signed_head.signature().bin(tag::SIG_RESERVEDSPACE);
        assert!(reserved.is_none_or(|zeros| zeros.iter().all(|byte| *byte == 0)));
    }
    refused
}

#[test]
fn stripping_a_signature_gives_back_the_unsigned_file() {
    let Some(folder) = corpus("stripping_a_signature_gives_back_the_unsigned_file") else {
        return;
    };
    let unsigned = unsigned(&folder);
    assert!(unsigned.len() >= 25, "{}", unsigned.len());
    for path in unsigned {
        assert_eq!(comes_back_unsigned(&path), 0, "{}", path.display());
    }
}

#[test]
fn whatever_is_signed_over_a_signed_file_strips_to_the_same_unsigned_one() {
    let Some(folder) = corpus("whatever_is_signed_over_a_signed_file_strips_to_the_same") else {
        return;
    };
    let (mut restored, mut refused) = (0, 0);
    for row in rows(&folder).iter().filter(|row| row[5] != "no") {
        let Ok(head) = Head::parse(&std::fs::read(folder.join(&row[0])).unwrap()) else {
            continue;
        };
        let plain = stripped(&head);
        for set in signature_sets() {
            match with_openpgp(&head, &set) {
                Ok(again) => {
                    let bytes = [head.lead(), &again, head.main_bytes()].concat();
                    assert_eq!(stripped(&Head::parse(&bytes).unwrap()), plain, "{}", row[0]);
                    restored += 1;
                }
                Err(SpliceError::NotRestorable { .. }) => refused += 1,
                Err(other) => panic!("{}: {other}", row[0]),
            }
        }
    }
    assert!(restored >= 100, "{restored} restored, {refused} refused");
}

#[test]
fn a_signature_that_fits_the_reserved_space_keeps_the_files_size() {
    let Some(folder) = corpus("a_signature_that_fits_the_reserved_space_keeps_the_files_size")
    else {
        return;
    };
    for name in [
        "v4/rpm-basic-none.noarch.rpm",
        "v6/rpm-basic-none.noarch.rpm",
    ] {
        let (_, head) = read(&folder.join(name));
        let room = |set: &[OpenPgpSignature]| with_openpgp(&head, set).unwrap().len();
        let before = head.signature_bytes().len();
        assert_eq!(room(&[fake(566, Some(LegacySlot::Rsa))]), before);
        assert_eq!(
            room(&[
                fake(566, Some(LegacySlot::Rsa)),
                fake(118, Some(LegacySlot::Dsa))
            ]),
            before
        );
        assert!(room(&[fake(3464, None)]) > before);
    }
}

#[test]
fn signatures_that_other_programs_put_in_come_out_too() {
    let Some(folder) = corpus("signatures_that_other_programs_put_in_come_out_too") else {
        return;
    };
    let mut restored = 0;
    for (signed, unsigned) in [
        (
            "v4/signed-ed25519.noarch.rpm",
            "v4/rpm-basic-none.noarch.rpm",
        ),
        ("v4/signed-ecdsa.noarch.rpm", "v4/rpm-basic-none.noarch.rpm"),
        (
            "v4/signed-rsa4096.noarch.rpm",
            "v4/rpm-basic-none.noarch.rpm",
        ),
        (
            "v6/signed-ed25519.noarch.rpm",
            "v6/rpm-basic-none.noarch.rpm",
        ),
        ("v6/signed-rsa4k.noarch.rpm", "v6/rpm-basic-none.noarch.rpm"),
        (
            "v6/signed-multiple.noarch.rpm",
            "v6/rpm-basic-none.noarch.rpm",
        ),
        (
            "v6/signed-mldsa65-ed25519.noarch.rpm",
            "v6/rpm-basic-none.noarch.rpm",
        ),
    ] {
        let (_, signed_head) = read(&folder.join(signed));
        let (_, head) = read(&folder.join(unsigned));
        assert_eq!(signed_head.header_digest(), head.header_digest());
        assert_eq!(stripped(&signed_head), head.signature_bytes(), "{signed}");
        restored += 1;
    }
    assert_eq!(restored, 7);
    // And a signature of theirs put in by us is their file.
    let (_, theirs) = read(&folder.join("v6/signed-multiple.noarch.rpm"));
    let (_, head) = read(&folder.join("v6/rpm-basic-none.noarch.rpm"));
    let signature = |packet| OpenPgpSignature {
        packet,
        legacy: None,
    };
    let set: Vec<_> = openpgp_signatures(&theirs)
        .into_iter()
        .map(signature)
        .collect();
    assert_eq!(set.len(), 2);
    assert_eq!(with_openpgp(&head, &set).unwrap(), theirs.signature_bytes());
}

#[test]
fn signing_again_replaces_what_was_there() {
    let Some(folder) = corpus("signing_again_replaces_what_was_there") else {
        return;
    };
    for row in rows(&folder).iter().filter(|row| row[5] != "no") {
        let (bytes, head) = read(&folder.join(&row[0]));
        assert!(!found_signatures(&head).is_empty(), "{}", row[0]);
        let set = [fake(300, Some(LegacySlot::Rsa))];
        let spliced =
            with_openpgp(&head, &set).unwrap_or_else(|error| panic!("{}: {error}", row[0]));
        let again = Head::parse(&resigned(&bytes, &head, &spliced)).unwrap();
        let tags: Vec<u32> = found_signatures(&again)
            .iter()
            .map(|found| found.tag)
            .collect();
        assert_eq!(tags, [tag::SIG_RSAHEADER, tag::SIG_OPENPGP], "{}", row[0]);
        assert_eq!(stripped(&again), stripped(&head), "{}", row[0]);
        let without = with_openpgp(&again, &[]).unwrap();
        assert_eq!(without, stripped(&head), "{}", row[0]);
    }
}

#[test]
fn signatures_that_cannot_be_put_in_are_refused() {
    let Some(folder) = corpus("signatures_that_cannot_be_put_in_are_refused") else {
        return;
    };
    let (_, head) = read(&folder.join("v4/rpm-basic-none.noarch.rpm"));
    let twice = [
        fake(100, Some(LegacySlot::Rsa)),
        fake(101, Some(LegacySlot::Rsa)),
    ];
    assert!(matches!(
        with_openpgp(&head, &twice),
        Err(SpliceError::SlotTaken { tag: 268 })
    ));
    let empty = [fake(0, None)];
    assert!(matches!(
        with_openpgp(&head, &empty),
        Err(SpliceError::EmptySignature { number: 0 })
    ));
}

/// Builds packages with the system's rpmbuild.
fn built(folder: &Path, define: &[&str]) -> Vec<PathBuf> {
    let spec = folder.join("probe.spec");
    let text = "Name: probe\nVersion: 1.0\nRelease: 1\nSummary: Probe\nLicense: MIT\nBuildArch: noarch\n\
        %description\nProbe.\n%install\nmkdir -p %{buildroot}/etc\necho x > %{buildroot}/etc/probe\n\
        %files\n/etc/probe\n";
    std::fs::write(&spec, text).unwrap();
    let mut command = Command::new("rpmbuild");
    command
        .arg("-ba")
        .arg("--define")
        .arg(format!("_topdir {}", folder.display()));
    for define in define {
        command.args(["--define", define]);
    }
    let output = command.arg(&spec).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    vec![
        folder.join("RPMS/noarch/probe-1.0-1.noarch.rpm"),
        folder.join("SRPMS/probe-1.0-1.src.rpm"),
    ]
}

#[test]
fn what_rpmbuild_makes_is_restored_and_rpm_reads_what_we_splice() {
    let name = "what_rpmbuild_makes_is_restored_and_rpm_reads_what_we_splice";
    if !has_tool(name, "rpmbuild") || !has_tool(name, "rpm") {
        return;
    }
    // With hardly any reserved space, a signature of just 4096 bytes looks like one that took them
    // from rpm's default of 4096 + 32: refused.
    let defines: [(&[&str], usize); 3] = [
        (&[], 0),
        (&["__gpg_reserved_space 16384"], 0),
        (&["__gpg_reserved_space 0"], 1),
    ];
    for (define, may_refuse) in defines {
        let folder = tempfile::tempdir().unwrap();
        for path in built(folder.path(), define) {
            let refused = comes_back_unsigned(&path);
            assert!(refused <= may_refuse, "{define:?}: {refused} refused");
            if may_refuse == 0 {
                rpm_reads_what_we_splice(&path);
            }
        }
    }
}

#[test]
fn with_the_reserved_space_grown_a_post_quantum_signature_too_is_made_in_place() {
    let name = "with_the_reserved_space_grown_a_post_quantum_signature_too_is_made_in_place";
    if !has_tool(name, "rpmbuild") {
        return;
    }
    let both = [fake(118, Some(LegacySlot::Dsa)), fake(3464, None)];
    for (define, in_place) in [("__gpg_reserved_space 16384", true), ("a b", false)] {
        let folder = tempfile::tempdir().unwrap();
        for path in built(folder.path(), &[define]) {
            let (_, head) = read(&path);
            let grown = with_openpgp(&head, &both).unwrap();
            let same_size = grown.len() == head.signature_bytes().len();
            assert_eq!(same_size, in_place, "{define}: {}", path.display());
        }
    }
}

fn rpm_reads_what_we_splice(path: &Path) {
    let (bytes, head) = read(path);
    for set in signature_sets() {
        let spliced = with_openpgp(&head, &set).unwrap();
        let signed = path.with_extension("signed.rpm");
        std::fs::write(&signed, resigned(&bytes, &head, &spliced)).unwrap();
        let rpm = |args: &[&str]| {
            Command::new("rpm")
                .args(args)
                .arg(&signed)
                .output()
                .unwrap()
        };
        let output = rpm(&["-K", "-v", "--nosignature"]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("SHA256 digest: OK"),
            "{output:?}"
        );
        let output = rpm(&["-qp", "--nosignature", "--qf", "%{NAME} %{SIGSIZE}"]);
        assert!(
            output.status.success() && output.stdout.starts_with(b"probe "),
            "{output:?}"
        );
        assert!(output.stderr.is_empty(), "{output:?}");
    }
}

#[test]
fn a_strangely_sized_reserved_space_is_restored_or_refused_never_guessed_wrong() {
    let name = "a_strangely_sized_reserved_space_is_restored_or_refused_never_guessed_wrong";
    if !has_tool(name, "rpmbuild") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = &built(folder.path(), &["__gpg_reserved_space 1000"])[0];
    let (bytes, head) = read(path);
    let (mut restored, mut refused) = (0, 0);
    for size in (1..2000).step_by(13) {
        match with_openpgp(&head, &[fake(size, None)]) {
            Ok(spliced) => {
                let again = Head::parse(&resigned(&bytes, &head, &spliced)).unwrap();
                assert_eq!(signature::stripped(&again), head.signature_bytes());
                restored += 1;
            }
            Err(SpliceError::NotRestorable { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(restored > 30, "{restored} restored, {refused} refused");
}
