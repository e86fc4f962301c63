//! Packages that lie, are cut short, or want too much.

mod common;

use sbom_gen::{Limits, Options, SbomError};
use std::io::{self, Read};

/// Where `needle` starts, for changing a package in place.
fn find(bytes: &[u8], needle: &[u8]) -> usize {
    bytes
        .windows(needle.len())
        .rposition(|window| window == needle)
        .unwrap()
}

#[test]
fn a_changed_file_is_named() {
    let mut rpm = common::fixture();
    let at = find(&rpm, b"Read me.\n");
    rpm[at] ^= 1;
    match common::inventory(&rpm).unwrap_err() {
        SbomError::FileMismatch { path, what, .. } => {
            assert_eq!(
                (path.as_str(), what),
                ("/usr/share/doc/fixture/README", "SHA-256")
            );
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_changed_link_is_named() {
    let mut rpm = common::fixture();
    let entry = find(&rpm, b"./usr/lib64/libfixture.so\0");
    let target = entry + find(&rpm[entry..entry + 60], b"libfixture.so.1");
    rpm[target] ^= 1;
    match common::inventory(&rpm).unwrap_err() {
        SbomError::FileMismatch {
            path,
            what: "link target",
            ..
        } => {
            assert_eq!(path, "/usr/lib64/libfixture.so");
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_payload_changed_outside_of_files_is_refused_by_its_own_digest() {
    let mut rpm = common::fixture();
    rpm.extend_from_slice(b"\0\0\0\0");
    assert!(matches!(
        common::inventory(&rpm),
        Err(SbomError::PayloadMismatch { .. })
    ));
}

#[test]
fn a_file_under_another_name_is_a_stray() {
    let mut rpm = common::fixture();
    let at = find(&rpm, b"fixture/README");
    rpm[at + 8] = b'X';
    match common::inventory(&rpm).unwrap_err() {
        SbomError::StrayFile { path, .. } => assert!(path.ends_with("fixture/XEADME"), "{path}"),
        other => panic!("{other}"),
    }
}

#[test]
fn a_package_cut_short_anywhere_is_an_error() {
    let rpm = common::fixture();
    for length in (0..rpm.len()).step_by(rpm.len() / 400) {
        assert!(
            common::inventory(&rpm[..length]).is_err(),
            "{length} of {} bytes",
            rpm.len()
        );
    }
}

#[test]
fn no_changed_byte_makes_it_panic_and_none_of_the_payload_passes() {
    for config in [rpm::BuildConfig::v4(), rpm::BuildConfig::v6()] {
        let mut builder = common::builder("small", config);
        builder
            .with_file_contents(
                common::elf::noted("{}", &[1; 20]),
                rpm::FileOptions::new("/usr/bin/x"),
            )
            .unwrap();
        builder
            .with_file_contents(b"text", rpm::FileOptions::new("/usr/share/y"))
            .unwrap();
        let rpm = common::bytes(&mut builder);
        let payload = repo_model::rpm::Head::parse(&rpm).unwrap().payload_offset() as usize;
        for (step, flip) in [(3, 0xff), (7, 0x01)] {
            for at in (0..rpm.len()).step_by(step) {
                let mut changed = rpm.clone();
                changed[at] ^= flip;
                let outcome = common::inventory(&changed);
                assert!(
                    at < payload || outcome.is_err(),
                    "byte {at} of {}",
                    rpm.len()
                );
            }
        }
    }
}

#[test]
fn limits_stop_what_asks_for_too_much() {
    let rpm = common::fixture();
    let with = |limits| {
        sbom_gen::inventory(
            &rpm[..],
            &Options {
                limits,
                ..common::options()
            },
        )
    };
    let payload = Limits {
        payload_bytes: 1000,
        ..Limits::default()
    };
    assert!(matches!(
        with(payload),
        Err(SbomError::Limit { limit: 1000, .. })
    ));
    let components = Limits {
        components: 3,
        ..Limits::default()
    };
    assert!(matches!(
        with(components),
        Err(SbomError::Limit { limit: 3, .. })
    ));
}

#[test]
fn a_file_too_long_to_look_into_is_hashed_and_named() {
    let rpm = common::fixture();
    let limits = Limits {
        inspected_file_bytes: 60,
        ..Limits::default()
    };
    let options = Options {
        limits,
        ..common::options()
    };
    let inventory = sbom_gen::inventory(&rpm[..], &options).unwrap();
    let named: Vec<_> = inventory
        .not_inspected
        .iter()
        .map(|one| one.path.as_str())
        .collect();
    assert!(named.contains(&"/usr/bin/go-tool"), "{named:?}");
    assert!(
        inventory
            .files
            .iter()
            .all(|file| file.hashes.is_some() != file.link_target.is_some())
    );
    let document = common::document("cyclonedx-1.6", &inventory, &options);
    assert!(document.contains("sbom:not-inspected"));
}

#[test]
fn a_source_that_fails_is_not_the_packages_fault() {
    struct Failing<'a>(&'a [u8]);
    impl Read for Failing<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::Error::new(io::ErrorKind::TimedOut, "the line is dead")),
                read => Ok(read),
            }
        }
    }
    let rpm = common::fixture();
    for length in [0, 50, 2000, rpm.len() - 10] {
        match sbom_gen::inventory(Failing(&rpm[..length]), &common::options()) {
            Err(SbomError::Read(error)) => assert_eq!(error.kind(), io::ErrorKind::TimedOut),
            other => panic!("{length}: {other:?}"),
        }
    }
}

#[test]
fn a_sink_that_fails_is_the_sinks_fault() {
    struct Full;
    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let inventory = common::inventory(&common::fixture()).unwrap();
    for format in sbom_gen::SBOM_FORMATS {
        let outcome = format.write(&inventory, &common::options(), &mut Full);
        assert!(
            matches!(outcome, Err(SbomError::Write(_))),
            "{}",
            format.name
        );
    }
}
