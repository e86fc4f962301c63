//! The reader against real packages from 1999 to 2026: a manifest made by another reader, the
//! system's rpm, and signatures that other programs put in.

mod common;

use common::{corpus, has_tool, rows};
use repo_model::rpm::{FileKind, Head, HeadLimits, Package, RpmFormat, lint, signature, tag};
use sha2::{Digest as _, Sha256};
use std::path::Path;
use std::process::Command;

fn read(folder: &Path, path: &str) -> (Vec<u8>, Head, Package) {
    let bytes = std::fs::read(folder.join(path)).unwrap();
    let head = Head::parse(&bytes).unwrap_or_else(|error| panic!("{path}: {error}"));
    let package = Package::from_head(&head).unwrap_or_else(|error| panic!("{path}: {error}"));
    (bytes, head, package)
}

/// The manifest writes the epoch when the package has the tag, even 0.
fn manifest_nevra(package: &Package) -> String {
    let nevra = &package.nevra;
    let epoch = match package.has_epoch_tag {
        true => format!("{}:", nevra.evr.epoch),
        false => String::new(),
    };
    let (version, release) = (&nevra.evr.version, &nevra.evr.release);
    format!("{}-{epoch}{version}-{release}.{}", nevra.name, nevra.arch)
}

#[test]
fn every_real_package_reads_as_its_manifest_says() {
    let Some(folder) = corpus("every_real_package_reads_as_its_manifest_says") else {
        return;
    };
    let rows = rows(&folder);
    assert!(rows.len() >= 57);
    for row in rows {
        let (bytes, head, package) = read(&folder, &row[0]);
        let path = &row[0];
        assert_eq!(manifest_nevra(&package), row[3], "{path}");
        let format = match package.format {
            RpmFormat::V3 => "v3",
            RpmFormat::V4 => "v4",
            RpmFormat::V6 => "v6",
        };
        assert_eq!(format, row[4], "{path}");
        assert_eq!(package.files.len().to_string(), row[8], "{path}");
        if package.files.iter().any(|file| !file.digest.is_empty()) {
            let algorithm = match package.file_digest_algorithm {
                1 => "md5",
                8 => "sha256",
                other => panic!("{path}: {other}"),
            };
            assert_eq!(algorithm, row[9], "{path}");
        }
        assert_eq!(package.license, row[11], "{path}");
        assert_eq!(
            head.to_bytes(),
            bytes[..head.payload_offset() as usize],
            "{path}"
        );
        assert_eq!(
            row[5] == "no",
            signature::found_signatures(&head).is_empty(),
            "{path}"
        );
    }
}

#[test]
fn digests_in_the_headers_are_those_of_the_bytes() {
    let Some(folder) = corpus("digests_in_the_headers_are_those_of_the_bytes") else {
        return;
    };
    let (mut headers, mut payloads) = (0, 0);
    for row in rows(&folder) {
        let (bytes, head, package) = read(&folder, &row[0]);
        let payload = &bytes[head.payload_offset() as usize..];
        if let Some(hex) = head.signature().string(tag::SIG_SHA256HEADER) {
            assert_eq!(hex, head.header_digest().to_hex().as_bytes(), "{}", row[0]);
            headers += 1;
        }
        if let Some(hex) = &package.payload_sha256 {
            assert_eq!(*hex, hex::encode(Sha256::digest(payload)), "{}", row[0]);
            payloads += 1;
        }
        assert_eq!(
            row[6].contains("hdr-sha256:ok"),
            head.signature().has(tag::SIG_SHA256HEADER)
        );
    }
    assert!(headers > 30 && payloads > 30, "{headers} {payloads}");
}

#[test]
fn reading_stops_at_the_payload_and_needs_no_more_than_the_head() {
    let name = "reading_stops_at_the_payload_and_needs_no_more_than_the_head";
    let Some(folder) = corpus(name) else { return };
    for row in rows(&folder) {
        let (bytes, head, _) = read(&folder, &row[0]);
        let mut reader = &bytes[..];
        Head::read(&mut reader, &HeadLimits::default()).unwrap();
        assert_eq!(
            bytes.len() - reader.len(),
            head.payload_offset() as usize,
            "{}",
            row[0]
        );
        let cut = head.payload_offset() as usize - 1;
        assert!(Head::parse(&bytes[..cut]).is_err(), "{}", row[0]);
    }
}

/// What rpm is asked, and where our reader has it.
type Query = (&'static str, fn(&Package) -> String);

/// Every field that rpm can print on one line, by its query format and from our reader.
fn queries() -> Vec<Query> {
    fn or_none(text: &Option<String>) -> String {
        text.clone().unwrap_or_else(|| "(none)".to_owned())
    }
    vec![
        ("%{NAME}", |package| package.nevra.name.clone()),
        ("%{EPOCHNUM}", |package| package.nevra.evr.epoch.to_string()),
        ("%{VERSION}-%{RELEASE}", |package| {
            format!(
                "{}-{}",
                package.nevra.evr.version, package.nevra.evr.release
            )
        }),
        ("%{SOURCERPM}", |package| or_none(&package.source_rpm)),
        ("%{LICENSE}", |package| package.license.clone()),
        ("%{VENDOR}", |package| or_none(&package.vendor)),
        ("%{URL}", |package| or_none(&package.url)),
        ("%{BUILDHOST}", |package| package.build_host.clone()),
        ("%{BUILDTIME}", |package| {
            package.build_time.unix_secs().to_string()
        }),
        ("%{LONGSIZE}", |package| {
            package.installed_size_bytes.to_string()
        }),
        ("%{RPMVERSION}", |package| or_none(&package.rpm_version)),
        ("[%{PAYLOADDIGEST}]", |package| {
            or_none(&package.payload_sha256)
        }),
        ("[%{FILENAMES}|]", |package| {
            files(package, |file| file.path.clone())
        }),
        ("[%{LONGFILESIZES}|]", |package| {
            files(package, |file| file.size_bytes.to_string())
        }),
        ("[%{FILEMODES}|]", |package| {
            files(package, |file| file.mode.to_string())
        }),
        ("[%{FILEFLAGS}|]", |package| {
            files(package, |file| file.flags.to_string())
        }),
        ("[%{FILEDIGESTS}|]", |package| {
            files(package, |file| file.digest.clone())
        }),
        ("[%{FILELINKTOS}|]", |package| {
            files(package, |file| file.link_target.clone())
        }),
        ("[%{FILEUSERNAME}|]", |package| {
            files(package, |file| file.user.clone())
        }),
        ("[%{PROVIDENAME}|]", |package| names(&package.provides)),
        ("[%{CONFLICTNAME}|]", |package| names(&package.conflicts)),
        ("[%{SUPPLEMENTNAME}|]", |package| {
            names(&package.supplements)
        }),
        ("[%{CHANGELOGTIME}|]", |package| {
            package
                .changelog
                .iter()
                .map(|entry| format!("{}|", entry.time.unix_secs()))
                .collect()
        }),
    ]
}

fn files(package: &Package, field: fn(&repo_model::rpm::FileEntry) -> String) -> String {
    package.files.iter().map(|file| field(file) + "|").collect()
}

fn names(list: &[repo_model::rpm::Dependency]) -> String {
    list.iter()
        .map(|dependency| format!("{}|", dependency.name))
        .collect()
}

#[test]
fn the_systems_rpm_reads_the_same() {
    let name = "the_systems_rpm_reads_the_same";
    let Some(folder) = corpus(name) else { return };
    if !has_tool(name, "rpm") {
        return;
    }
    for row in rows(&folder) {
        let (_, _, package) = read(&folder, &row[0]);
        let queries = queries();
        let format = queries
            .iter()
            .map(|(query, _)| *query)
            .collect::<Vec<_>>()
            .join("\\n")
            + "\\n";
        let output = Command::new("rpm")
            .args(["--nosignature", "--nodigest", "-qp", "--qf", &format])
            .arg(folder.join(&row[0]))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}: {output:?}", row[0]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() != queries.len() {
            panic!(
                "{}: {} lines for {} queries",
                row[0],
                lines.len(),
                queries.len()
            );
        }
        for ((query, field), line) in queries.iter().zip(lines) {
            let ours = field(&package).replace("(none)", "");
            let line = line.replace("(none)", "");
            // rpm gives packages of version 3 a provide of their own name that they do not have.
            let is_retrofit = package.format == RpmFormat::V3 && query.contains("PROVIDENAME");
            let same = ours == line || ours.is_empty() && line == "|" || is_retrofit;
            assert!(
                same,
                "{}: {query}: rpm says {line:.200}, we {ours:.200}",
                row[0]
            );
        }
    }
}

#[test]
fn latin_1_text_is_kept_byte_for_byte() {
    let Some(folder) = corpus("latin_1_text_is_kept_byte_for_byte") else {
        return;
    };
    for path in [
        "v4/balicek-iso88591-1.1.1-1.x86_64.rpm",
        "v4/rpm-with-non-utf-8-1-1.fc25.noarch.rpm",
    ] {
        let (_, head, package) = read(&folder, path);
        let mut latin_1 = 0;
        for (tag, ours) in [
            (tag::SUMMARY, &package.summary),
            (tag::DESCRIPTION, &package.description),
        ] {
            let raw = head.main().string(tag).unwrap();
            if std::str::from_utf8(raw).is_err() {
                let back: Vec<u8> = ours
                    .chars()
                    .map(|c| u8::try_from(u32::from(c)).unwrap())
                    .collect();
                assert_eq!(back, raw, "{path}");
                latin_1 += 1;
            }
        }
        assert!(latin_1 > 0, "{path}");
    }
}

#[test]
fn symlinks_directories_and_ghosts_are_told_apart() {
    let Some(folder) = corpus("symlinks_directories_and_ghosts_are_told_apart") else {
        return;
    };
    let (_, _, filesystem) = read(&folder, "v4/filesystem-2.4.44-1.fc16.i686.rpm");
    let kinds = |kind| {
        filesystem
            .files
            .iter()
            .filter(|file| file.kind == kind)
            .count()
    };
    assert!(kinds(FileKind::Dir) > 14_000);
    let links = filesystem
        .files
        .iter()
        .filter(|file| file.kind == FileKind::Symlink);
    assert!(links.clone().count() > 0 && links.clone().all(|file| !file.link_target.is_empty()));
    let (_, _, basic) = read(&folder, "v4/rpm-basic-none.noarch.rpm");
    assert!(basic.files.iter().any(|file| file.is_ghost()));
}

#[test]
fn lint_refuses_what_is_weak_and_nothing_else_that_real_builders_made() {
    let name = "lint_refuses_what_is_weak_and_nothing_else_that_real_builders_made";
    let Some(folder) = corpus(name) else { return };
    let (mut passed, mut refused) = (0, 0);
    for row in rows(&folder) {
        let (_, head, package) = read(&folder, &row[0]);
        let findings = lint(&head, &package);
        let errors: Vec<&str> = findings
            .iter()
            .filter(|finding| finding.is_error())
            .map(|finding| finding.code)
            .collect();
        // The manifest has no column for the payload digest of version 6, which is always there.
        let is_bound = row[4] == "v6" || row[6].contains("payload-sha256:ok");
        let mut expected = Vec::new();
        if !row[6].contains("hdr-sha256:ok") {
            expected.push("no-header-sha256");
        }
        if !is_bound {
            expected.push("no-payload-sha256");
        }
        if row[9] == "md5" {
            expected.push("weak-file-digests");
        }
        assert_eq!(errors, expected, "{}: {findings:#?}", row[0]);
        *if errors.is_empty() {
            &mut passed
        } else {
            &mut refused
        } += 1;
    }
    assert!(
        passed > 30 && refused > 10,
        "{passed} passed, {refused} refused"
    );
}
