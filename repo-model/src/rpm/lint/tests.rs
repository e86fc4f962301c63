//! One crafted package for each code, and sound packages that have no finding at all.

use super::{CODES, Severity, lint};
use crate::rpm::testkit::{Field, Rpm, header};
use crate::rpm::{Finding, Head, Package, tag};
use std::collections::BTreeSet;

fn findings(bytes: &[u8]) -> Vec<Finding> {
    let head = Head::parse(bytes).unwrap();
    let package = Package::from_head(&head).unwrap();
    lint(&head, &package)
}

fn probe() -> Rpm {
    Rpm::binary("probe")
        .file("/etc/probe.conf", b"x = 1\n")
        .dir("/usr/share/probe")
        .symlink("/usr/bin/probe", "../share/probe/run")
}

/// A package whose one text tag is this.
fn with_text(tag: u32, text: &[u8]) -> Vec<u8> {
    probe().set(tag, Field::str(text)).bytes()
}

fn with_require(name: &str, version: &str) -> Vec<u8> {
    probe()
        .set(tag::REQUIRENAME, Field::strings(["sound", name]))
        .set(tag::REQUIREFLAGS, Field::Int32(vec![8, 8]))
        .set(tag::REQUIREVERSION, Field::strings(["1:2-3", version]))
        .bytes()
}

/// The bytes with `edit` applied at the first place of `needle`.
fn patched(mut bytes: Vec<u8>, needle: &[u8], edit: fn(&mut [u8])) -> Vec<u8> {
    let place = bytes
        .windows(needle.len())
        .position(|window| window == needle)
        .unwrap();
    edit(&mut bytes[place..]);
    bytes
}

/// A sound package whose main header has one more entry behind its region.
fn with_entry_outside_the_region() -> Vec<u8> {
    let sound = probe().bytes();
    let head = Head::parse(&sound).unwrap();
    let mut main = head.main_bytes().to_vec();
    let count = u32::from_be_bytes(main[8..12].try_into().unwrap());
    let data = u32::from_be_bytes(main[12..16].try_into().unwrap());
    let index_end = 16 + 16 * count as usize;
    let entry = [5555_u32, 6, data, 1].map(u32::to_be_bytes).concat();
    main.splice(index_end..index_end, entry);
    main.extend(b"smuggled\0");
    main[8..12].copy_from_slice(&(count + 1).to_be_bytes());
    main[12..16].copy_from_slice(&(data + 9).to_be_bytes());
    [
        head.lead(),
        head.signature_bytes(),
        &main,
        &sound[head.payload_offset() as usize..],
    ]
    .concat()
}

/// A sound package with another signature header.
fn with_signature_header(mut signature: Vec<u8>) -> Vec<u8> {
    let sound = probe().bytes();
    let head = Head::parse(&sound).unwrap();
    signature.resize(signature.len().next_multiple_of(8), 0);
    [
        head.lead(),
        &signature,
        head.main_bytes(),
        &sound[head.payload_offset() as usize..],
    ]
    .concat()
}

fn case(
    code: &'static str,
    bytes: Vec<u8>,
    says: &'static str,
) -> (&'static str, Vec<u8>, &'static str) {
    (code, bytes, says)
}

fn structure_cases() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let int32 = |number| Field::Int32(vec![number]);
    let sealed = header(
        Some(62),
        vec![
            (269, Field::str("x")),
            (1000, Field::Int32(vec![9000])),
            (1004, Field::Bin(vec![1; 16])),
        ],
    );
    vec![
        case(
            "duplicate-tag",
            probe().add(tag::LICENSE, Field::str("GPL")).bytes(),
            "tag 1014 (LICENSE)",
        ),
        case("outside-region", with_entry_outside_the_region(), "of"),
        case(
            "signature-layout",
            with_signature_header(with_hole(sealed)),
            "rebuild",
        ),
        case(
            "reserved-space",
            probe()
                .set_signature(1008, Field::Bin([vec![0; 100], vec![7; 28]].concat()))
                .bytes(),
            "tag 1008",
        ),
        case(
            "tag-in-both-headers",
            probe().set(tag::ARCHIVESIZE, int32(9)).bytes(),
            "tag 1046 (ARCHIVESIZE)",
        ),
        case(
            "tag-in-both-headers",
            probe().set(273, Field::str("0")).bytes(),
            "tag 273 of the main header",
        ),
        case(
            "unknown-format",
            probe().set(tag::RPMFORMAT, int32(5)).bytes(),
            "is 5, want 4 or 6",
        ),
        case(
            "lead-disagrees",
            probe().set(tag::SOURCEPACKAGE, int32(1)).bytes(),
            "lead",
        ),
        case(
            "lead-disagrees",
            patched(probe().bytes(), &[0xed, 0xab], |lead| lead[7] = 1),
            "source package",
        ),
        case(
            "unknown-payload",
            with_text(tag::PAYLOADFORMAT, b"drpm"),
            "`drpm`",
        ),
        case(
            "unknown-payload",
            with_text(tag::PAYLOADCOMPRESSOR, b"lzip"),
            "`lzip`",
        ),
        case(
            "absurd-size",
            probe()
                .set(tag::LONGSIZE, Field::Int64(vec![u64::MAX]))
                .bytes(),
            "tag 5009",
        ),
        case(
            "absurd-size",
            probe().set_signature(1000, int32(17)).bytes(),
            "says 17 bytes",
        ),
        case(
            "already-signed",
            probe().set_signature(268, Field::Bin(vec![1; 99])).bytes(),
            "268",
        ),
        case(
            "unreadable-signature",
            probe().set_signature(278, Field::strings(["%%%"])).bytes(),
            "base64",
        ),
        case(
            "unknown-signature-tag",
            probe().set_signature(4242, Field::str("hidden")).bytes(),
            "tag 4242",
        ),
    ]
}

/// Moves all data eight bytes to the right, leaving a hole that rpm would not.
fn with_hole(mut bytes: Vec<u8>) -> Vec<u8> {
    let count = u32::from_be_bytes(bytes[8..12].try_into().unwrap()) as usize;
    let data = u32::from_be_bytes(bytes[12..16].try_into().unwrap());
    bytes.splice(16 + 16 * count..16 + 16 * count, [0; 8]);
    bytes[12..16].copy_from_slice(&(data + 8).to_be_bytes());
    for number in 0..count {
        let at = 16 + 16 * number + 8;
        let start = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        bytes[at..at + 4].copy_from_slice(&(start + 8).to_be_bytes());
    }
    bytes
}

fn digest_cases() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let int32 = |number| Field::Int32(vec![number]);
    let sixty_four = "0".repeat(64);
    vec![
        case(
            "no-header-sha256",
            probe().without_signature(273).bytes(),
            "tag 273",
        ),
        case(
            "wrong-header-digest",
            probe().set_signature(273, Field::str(&sixty_four)).bytes(),
            "SHA256HEADER",
        ),
        case(
            "wrong-header-digest",
            probe().set_signature(269, Field::str("00")).bytes(),
            "SHA1HEADER",
        ),
        case(
            "wrong-header-digest",
            patched(probe().bytes(), b"A probe", |text| text[0] = b'B'),
            "wrong",
        ),
        case(
            "no-payload-sha256",
            probe().without(tag::PAYLOADSHA256).bytes(),
            "missing",
        ),
        case(
            "no-payload-sha256",
            probe().set(tag::PAYLOADSHA256ALGO, int32(2)).bytes(),
            "is 2",
        ),
        case(
            "no-payload-sha256",
            probe()
                .set(tag::PAYLOADSHA256, Field::strings(["abc"]))
                .bytes(),
            "64 hex",
        ),
        case(
            "weak-file-digests",
            probe().set(tag::FILEDIGESTALGO, int32(2)).bytes(),
            "SHA-1",
        ),
        case(
            "weak-file-digests",
            probe().without(tag::FILEDIGESTALGO).bytes(),
            "is missing, which means MD5",
        ),
        case(
            "unknown-file-digest",
            probe().set(tag::FILEDIGESTALGO, int32(99)).bytes(),
            "is 99",
        ),
        case(
            "bad-file-digest",
            probe()
                .set(tag::FILEDIGESTS, Field::strings(["", "", ""]))
                .bytes(),
            "/etc/probe.conf",
        ),
    ]
}

fn identity_cases() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    vec![
        case(
            "bad-name",
            with_text(tag::NAME, b"../../etc/cron.d/x"),
            "tag 1000 (NAME)",
        ),
        case("bad-name", with_text(tag::NAME, b"..x"), "first"),
        case("bad-name", with_text(tag::NAME, b"-rf"), "first"),
        case(
            "bad-name",
            with_text(tag::NAME, "h\u{e9}llo".as_bytes()),
            "byte 1",
        ),
        case("bad-name", with_text(tag::NAME, b"a b"), "' '"),
        case("bad-name", with_text(tag::NAME, &[b'a'; 250]), "267 bytes"),
        case("bad-version", with_text(tag::VERSION, b"1-2"), "'-'"),
        case("bad-version", with_text(tag::VERSION, b"1/2"), "'/'"),
        case(
            "bad-version",
            with_text(tag::RELEASE, b"1:2"),
            "tag 1002 (RELEASE)",
        ),
        case(
            "bad-arch",
            with_text(tag::ARCH, b"x86/64"),
            "tag 1022 (ARCH)",
        ),
        case(
            "bad-source-rpm",
            probe().without(tag::SOURCERPM).bytes(),
            "missing",
        ),
        case(
            "bad-source-rpm",
            with_text(tag::SOURCERPM, b"../probe-1-1.src.rpm"),
            "want name-version",
        ),
        case(
            "bad-source-rpm",
            with_text(tag::SOURCERPM, b"probe-1-1.noarch.rpm"),
            "want name-version",
        ),
        case(
            "bad-path",
            probe().file("/usr/../etc/shadow", b"").bytes(),
            "`/usr/../etc/shadow`",
        ),
        case(
            "bad-path",
            probe().file("usr/bin/x", b"").bytes(),
            "does not start with /",
        ),
        case("bad-path", probe().file("//x", b"").bytes(), "empty part"),
        case(
            "bad-path",
            probe()
                .file(&format!("/{}", "d/".repeat(2100)), b"")
                .bytes(),
            "4095",
        ),
        case(
            "bad-path",
            probe()
                .set(
                    tag::DIRNAMES,
                    Field::strings(["/etc", "/usr/share/", "/usr/bin/"]),
                )
                .bytes(),
            "end with /",
        ),
        case(
            "bad-path",
            probe()
                .set(tag::BASENAMES, Field::strings(["a/../b", "c", "d"]))
                .bytes(),
            "has a /",
        ),
        case(
            "bad-path",
            Rpm::source("probe").file("../x.patch", b"").bytes(),
            "plain file names",
        ),
        case(
            "duplicate-path",
            probe().file("/etc/probe.conf", b"x").bytes(),
            "twice",
        ),
    ]
}

fn text_cases() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    vec![
        case(
            "control-character",
            with_text(tag::SUMMARY, b"bell\x07"),
            "0x07",
        ),
        case(
            "control-character",
            with_text(tag::DESCRIPTION, b"\xe9 \x1b[1m"),
            "0x1b",
        ),
        case(
            "control-character",
            with_text(tag::URL, "\u{fffe}".as_bytes()),
            "U+FFFE",
        ),
        case(
            "control-character",
            probe().file("/etc/\x01", b"").bytes(),
            "tag 1117 (BASENAMES)",
        ),
        case(
            "control-character",
            with_require("a\x02", "1"),
            "tag 1049 (REQUIRENAME)",
        ),
        case(
            "bad-dependency-epoch",
            with_require("foo", "bar:1"),
            "`bar:1`",
        ),
        case(
            "bad-dependency-epoch",
            with_require("foo", "4294967296:1"),
            "epoch",
        ),
        case("empty-dependency", with_require("", "1"), "without a name"),
        case(
            "not-utf8",
            with_text(tag::SUMMARY, b"Bal\xed\xe8ek"),
            "Latin-1",
        ),
        case(
            "old-build-time",
            probe().set(tag::BUILDTIME, Field::Int32(vec![0])).bytes(),
            "1970",
        ),
        case(
            "old-build-time",
            probe().without(tag::BUILDTIME).bytes(),
            "BUILDTIME",
        ),
        case(
            "no-license",
            probe().without(tag::LICENSE).bytes(),
            "LICENSE",
        ),
        case("no-summary", with_text(tag::SUMMARY, b" "), "SUMMARY"),
        case(
            "no-changelog",
            probe()
                .without(tag::CHANGELOGTIME)
                .without(tag::CHANGELOGNAME)
                .without(tag::CHANGELOGTEXT)
                .bytes(),
            "CHANGELOGTIME",
        ),
    ]
}

#[test]
fn every_code_is_found_in_a_package_made_to_have_it() {
    let mut found_codes = BTreeSet::new();
    let cases = [
        structure_cases(),
        digest_cases(),
        identity_cases(),
        text_cases(),
    ];
    for (code, bytes, says) in cases.into_iter().flatten() {
        let all = findings(&bytes);
        let finding = all
            .iter()
            .find(|finding| finding.code == code && finding.message.contains(says));
        assert!(finding.is_some(), "{code} ({says}) not among {all:#?}");
        found_codes.insert(code);
    }
    let known: BTreeSet<&str> = CODES.iter().map(|code| code.name).collect();
    assert_eq!(
        found_codes, known,
        "a code without a case, or a case without a code"
    );
    assert_eq!(known.len(), CODES.len(), "two codes of one name");
}

#[test]
fn sound_packages_have_no_findings() {
    let large = (0..300).fold(probe(), |rpm, number| {
        rpm.file(&format!("/usr/lib/p/{number}"), b"x")
    });
    for rpm in [
        Rpm::binary("probe"),
        probe(),
        Rpm::source("gtk+-3_x.y"),
        large,
    ] {
        assert_eq!(findings(&rpm.bytes()), []);
    }
    let odd = probe()
        .set(tag::VERSION, Field::str("1.0~rc1^git2+3"))
        .flags(64);
    assert_eq!(findings(&odd.bytes()), []);
}

#[test]
fn the_offset_is_that_of_the_wrong_byte() {
    for (number, text) in [
        (tag::SUMMARY, &b"abc\x0bdef"[..]),
        (tag::LICENSE, b"GPL\x1f"),
    ] {
        let bytes = with_text(number, text);
        let finding = findings(&bytes)
            .into_iter()
            .find(|finding| finding.code == "control-character");
        let finding = finding.unwrap();
        assert_eq!(
            (finding.tag, finding.severity),
            (Some(number), Severity::Error)
        );
        let byte = bytes[finding.offset.unwrap() as usize];
        assert!(byte == 0x0b || byte == 0x1f, "{byte:#x}");
    }
}

#[test]
fn a_thousand_bad_paths_are_ten_findings() {
    let rpm = (0..1000).fold(probe(), |rpm, number| {
        rpm.file(&format!("/a/../{number}"), b"")
    });
    let all = findings(&rpm.bytes());
    assert_eq!(
        all.iter()
            .filter(|finding| finding.code == "bad-path")
            .count(),
        10
    );
    assert!(
        all.iter()
            .any(|finding| finding.message.ends_with("(and 990 more of this kind)"))
    );
}
