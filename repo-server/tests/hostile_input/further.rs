//! Readers for other purposes than a check: the packages of a release for its SBOM, modules and lists for a copy, the
//! metadata in place for an update of it.

use crate::createrepo_support::*;
use crate::{Files, edited, mutated, seeds, with_seeds};
use mirrors::reading::{ModularPackages, read_listed_spans, read_primary};
use repo_server::createrepo::{Addition, Change, FileNames, ModifyRequest, modifyrepo};
use repo_server::repocheck::{ReleaseReadError, Repomd, Severity, read_release};
use repo_server::repodata::{ChecksumType, Codec};
use sbom_gen::{Options, ReleaseInfo, SBOM_FORMATS};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a repository of ours lists about its SBOMs: one package of the seeds.
fn sbom_list(primary: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(primary);
    let (_, rest) = text.split_once("pkgid=\"YES\">").unwrap();
    let file = &rest[..64];
    format!(
        "{{\"feed\":{{\"title\":\"t\",\"entry\":[{{\"id\":\"{file}\",\"file\":{{\"sha256\":\"{file}\",\"sha512\":\"{file}{file}\"}},\
         \"link\":[{{\"href\":\"../a%2Bb.cdx.json\",\"sha256\":\"{file}\"}}]}}]}}}}"
    )
    .into_bytes()
}

#[test]
fn no_mutation_of_metadata_makes_reading_a_release_for_its_sbom_panic() {
    let mut seeds = seeds();
    let list = sbom_list(&seeds[0][0].1);
    for files in &mut seeds {
        files.push(("sbom.json".to_owned(), list.clone()));
    }
    let options = Options::default();
    let (whole, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    with_seeds("release", 2_000, |choices, seed| {
        // Plain text more often: a compressed file is refused for its checks.
        let mut files = seeds[if seed % 4 == 0 {
            choices.below(seeds.len())
        } else {
            0
        }]
        .clone();
        let which = [0, 0, 0, 1, 5][choices.below(5)];
        files[which].1 = match seed % 2 {
            0 => mutated(&files[which].1, choices),
            _ => edited(&files[which].1, 1, choices),
        };
        let source = Files::of(&files);
        match read_release(&source, ReleaseInfo::default(), &options) {
            Ok(release) => {
                whole.fetch_add(1, Ordering::Relaxed);
                // What was taken in can be written, in every format.
                for format in SBOM_FORMATS {
                    format
                        .write_release(&release, &options, &mut io::sink())
                        .unwrap();
                }
            }
            Err(error) => {
                refused.fetch_add(1, Ordering::Relaxed);
                let said = error.to_string();
                let names_what = match &error {
                    ReleaseReadError::Package { .. } => true,
                    ReleaseReadError::Record { record } => said.contains(record),
                    ReleaseReadError::Open { path, .. }
                    | ReleaseReadError::Read { path, .. }
                    | ReleaseReadError::Malformed { path, .. }
                    | ReleaseReadError::Checksum { path } => said.contains(path.as_str()),
                };
                assert!(names_what, "{error:?}");
            }
        }
    });
    let (whole, refused) = (whole.into_inner(), refused.into_inner());
    assert!(
        whole > 100 && refused > 500,
        "{whole} read, {refused} refused"
    );
}

const MODULES: &[u8] = b"---\ndocument: modulemd\nversion: 2\ndata:\n  name: m\n  stream: 2.10\n  artifacts:\n    rpms:\n    \
    - p00-0:1.0-1.noarch\n    - \"p01-0:1.0-1.noarch\"\n...\n---\ndata: {artifacts: {rpms: [p02-1:1.0-1.noarch]}}\n";

#[test]
fn no_mutation_of_lists_or_modules_makes_a_copy_panic_or_places_wrong() {
    let seeds = seeds();
    let found = AtomicU64::new(0);
    with_seeds("lists of a copy", 6_000, |choices, _| {
        let mut modules = ModularPackages::default();
        // In memory it can always be read.
        modules.read(&mutated(MODULES, choices)[..]).unwrap();
        let which = choices.below(3);
        let text = mutated(&seeds[0][which].1, choices);
        let end = text.len() as u64;
        match which {
            0 => {
                let _ = read_primary(&text[..], |claim| {
                    assert!(
                        claim.offset < end && claim.location_span.end <= end,
                        "{claim:?}"
                    );
                    found.fetch_add(u64::from(modules.has(&claim)), Ordering::Relaxed);
                });
            }
            _ => {
                let root = ["filelists", "otherdata"][which - 1];
                let _ = read_listed_spans(&text[..], root, |listed, span| {
                    assert!(span.start <= span.end && span.end <= end, "{listed:?}");
                });
            }
        }
    });
    assert!(
        found.into_inner() > 500,
        "hardly any package was of a module"
    );
}

fn add_record(root: &Path, record_type: &str, name: &str) {
    let addition = Addition {
        record_type: record_type.to_owned(),
        file_name: name.to_owned(),
        bytes: MODULES.to_vec(),
        codec: Codec::None,
        checksum: ChecksumType::Sha256,
        names: FileNames::Unique,
        zchunk: false,
    };
    let request = ModifyRequest {
        repository: root.to_owned(),
        at: now(),
    };
    modifyrepo(&request, vec![Change::Add(addition)]).unwrap();
}

#[test]
fn no_mutation_of_the_metadata_in_place_stops_or_spoils_an_update_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    fill(root, 2);
    run(&with_codec(root, Codec::None)).unwrap();
    for (record_type, name) in [("modules", "modules.yaml"), ("productid", "productid")] {
        add_record(root, record_type, name);
    }
    let before = repomd(root).into_bytes();
    let place = root.join("repodata/repomd.xml");
    let updated = AtomicU64::new(0);
    with_seeds("metadata in place", 150, |choices, seed| {
        fs::write(&place, mutated(&before, choices)).unwrap();
        let there = fs::read(&place).unwrap();
        let mut request = with_codec(root, Codec::None);
        request.keep_additional = seed % 3 > 0;
        request.recycle_list = seed % 3 > 1;
        // What is superseded stays for the next mutation.
        request.retain.age = Some(std::time::Duration::from_secs(3_600));
        if run(&request).is_err() {
            assert_eq!(fs::read(&place).unwrap(), there, "an error changes nothing");
            return;
        }
        updated.fetch_add(1, Ordering::Relaxed);
        Repomd::parse(&fs::read(&place).unwrap()).unwrap();
        // What is carried over may be anything; the lists are ours.
        let lists = ["-primary.xml", "-filelists.xml", "-other.xml"];
        let report = checked(root);
        let wrong = report.findings.iter().find(|finding| {
            finding.severity == Severity::Error
                && lists.iter().any(|list| finding.file.ends_with(list))
        });
        assert!(wrong.is_none(), "{wrong:?}");
    });
    assert!(updated.into_inner() > 30, "hardly anything was updated");
}
