//! Checking published packages without a server.

mod common;

use common::{Lab, comparer, spec};
use hallmark_rebuilder::build::{self, Recorded};
use hallmark_rebuilder::buildroot::Store;
use hallmark_rebuilder::compare::Comparer;
use hallmark_rebuilder::profile;
use hallmark_rebuilder::replay::ReplayError;
use hallmark_rebuilder::sandbox::Cancel;
use hallmark_rebuilder::verify::{CheckError, CheckRequest, check};
use repo_model::FileDigest;
use repo_model::buildinfo::BuildInfo;
use repo_model::rpm::Head;
use repo_model::rpm::signature::{LegacySlot, OpenPgpSignature, with_openpgp};
use repo_model::verdict::Verdict;
use std::fs;
use std::path::{Path, PathBuf};

fn request(lab: &Lab, srpm: &Path, recorded: &Recorded, files: Vec<PathBuf>) -> CheckRequest {
    let store = Store::new(&lab.path("store"), 1 << 30);
    CheckRequest {
        files,
        ..common::check_request(lab, recorded, srpm, &store)
    }
}

fn recorded(lab: &Lab, name: &str, install: &str) -> (PathBuf, Recorded) {
    let srpm = lab.srpm(name, &spec(name, install));
    let recorded = build::record(&lab.request(&srpm, name)).unwrap();
    (srpm, recorded)
}

/// A copy of a package with something in the place of an OpenPGP signature.
fn signed(lab: &Lab, package: &Path) -> PathBuf {
    let bytes = fs::read(package).unwrap();
    let head = Head::parse(&bytes).unwrap();
    let signature = OpenPgpSignature {
        packet: vec![0xC2, 3, 4, 0, 22],
        legacy: Some(LegacySlot::Rsa),
    };
    let mut file = head.lead().to_vec();
    file.extend(with_openpgp(&head, &[signature]).unwrap());
    file.extend(&bytes[usize::try_from(head.header_range().start).unwrap()..]);
    let path = lab.path("signed.rpm");
    fs::write(&path, file).unwrap();
    path
}

#[test]
fn a_signed_package_is_confirmed_by_its_own_signatures_before_the_rebuilt_bytes() {
    if !common::tools(
        "a_signed_package_is_confirmed_by_its_own_signatures_before_the_rebuilt_bytes",
    ) {
        return;
    }
    let lab = Lab::new();
    let (srpm, recorded) = recorded(&lab, "good", "echo data >data");
    let signed = signed(&lab, &recorded.packages[0]);
    let files = vec![signed.clone(), recorded.packages[0].clone()];
    let verified = check(&request(&lab, &srpm, &recorded, files)).unwrap();
    assert!(verified.confirmed);
    let verdicts: Vec<_> = verified
        .packages
        .iter()
        .map(|package| package.comparison.verdict)
        .collect();
    assert_eq!(verdicts, [Verdict::IdenticalUnsigned, Verdict::Identical]);
    let file = FileDigest::of(&fs::read(&signed).unwrap());
    assert_eq!(verified.packages[0].transplanted_sha256, Some(file));
    assert_ne!(verified.packages[0].rebuilt_sha256, Some(file));
    assert!(
        fs::read_to_string(lab.path("check.log"))
            .unwrap()
            .contains("%install")
    );
    assert_eq!(fs::read_dir(lab.path("work")).unwrap().count(), 0);

    // One byte of the payload changed after it was signed: the header is the build's, the bytes are not.
    let mut bytes = fs::read(&signed).unwrap();
    let last = bytes.len() - 9;
    bytes[last] ^= 1;
    fs::write(&signed, bytes).unwrap();
    let verified = check(&request(&lab, &srpm, &recorded, vec![signed])).unwrap();
    assert!(!verified.confirmed);
    assert_eq!(
        verified.packages[0].comparison.causes[0].code,
        "payload-digest"
    );
}

#[test]
fn a_package_that_holds_the_time_of_its_build_is_not_confirmed_and_the_cause_is_named() {
    if !common::tools(
        "a_package_that_holds_the_time_of_its_build_is_not_confirmed_and_the_cause_is_named",
    ) {
        return;
    }
    let lab = Lab::new();
    let (srpm, recorded) = recorded(&lab, "clock", "date +%%s.%%N >stamp");
    let verified = check(&request(&lab, &srpm, &recorded, recorded.packages.clone())).unwrap();
    assert!(!verified.confirmed);
    let found = &verified.packages[0].comparison;
    assert_eq!(found.verdict, Verdict::Differs);
    assert!(
        found
            .causes
            .iter()
            .any(|cause| cause.code == "embedded-clock"),
        "{:?}",
        found.causes
    );
}

#[test]
fn files_that_do_not_belong_together_say_nothing_about_one_another() {
    if !common::tools("files_that_do_not_belong_together_say_nothing_about_one_another") {
        return;
    }
    let lab = Lab::new();
    let (srpm, good) = recorded(&lab, "good", "echo data >data");
    let (other_srpm, other) = recorded(&lab, "other", "echo data >data");
    let error = check(&request(&lab, &srpm, &good, other.packages.clone())).unwrap_err();
    assert!(matches!(error, CheckError::OtherBuild { .. }), "{error}");
    assert!(error.to_string().contains("good-1.0-1.noarch"), "{error}");
    let error = check(&request(&lab, &other_srpm, &good, good.packages.clone())).unwrap_err();
    assert!(
        matches!(error, CheckError::Replay(ReplayError::OtherSource { .. })),
        "{error}"
    );
    // Another machine: what it has instead of the build's compiler is said.
    let mut info: BuildInfo = good.info.clone();
    info.buildroot.lock_sha256 = FileDigest::of(b"other");
    let version = info.buildroot.toolchain.first_mut().unwrap();
    *version = format!("{version}.1");
    fs::write(&good.buildinfo, info.to_json()).unwrap();
    let error = check(&request(&lab, &srpm, &good, good.packages.clone())).unwrap_err();
    assert!(
        matches!(error, CheckError::Replay(ReplayError::OtherRoot { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("this machine has "), "{error}");
}

#[test]
fn a_payload_that_harms_what_unpacks_it_does_so_in_a_process_without_keys() {
    if !common::tools("a_payload_that_harms_what_unpacks_it_does_so_in_a_process_without_keys") {
        return;
    }
    let lab = Lab::new();
    let (_, a) = recorded(
        &lab,
        "same",
        "echo a >data; head -c 3000000 /dev/zero >zeros",
    );
    let b = build::record(&lab.request(&lab.srpm("same", &spec("same", "echo b >data")), "again"))
        .unwrap();
    let compare = |program: &str| {
        let comparer = Comparer {
            program: program.into(),
            ..comparer(&lab)
        };
        comparer.compare(
            &a.packages[0],
            &b.packages[0],
            &Default::default(),
            &Cancel::default(),
        )
    };
    let found = compare(env!("CARGO_BIN_EXE_hallmark-rebuilder")).unwrap();
    assert_eq!(found.verdict, Verdict::Differs);
    // A comparison that crashes is no verdict.
    let error = compare("/bin/false").unwrap_err();
    assert!(error.to_string().contains("status 1"), "{error}");
    assert!(compare("/bin/true").is_err());
}

#[test]
fn diffoscope_explains_where_it_is_installed() {
    let test = "diffoscope_explains_where_it_is_installed";
    if !common::tools(test) {
        return;
    }
    if profile::installed(Path::new("/"), "diffoscope").is_err() {
        assert!(
            std::env::var_os("CI").is_none(),
            "{test}: diffoscope missing in CI"
        );
        eprintln!("SKIPPED {test}: diffoscope missing");
        return;
    }
    let lab = Lab::new();
    let (_, a) = recorded(&lab, "same", "echo the first version >data");
    let b = build::record(&lab.request(
        &lab.srpm("same", &spec("same", "echo the second version >data")),
        "again",
    ))
    .unwrap();
    let report = comparer(&lab).diffoscope(&a.packages[0], &b.packages[0], &Cancel::default());
    let text = String::from_utf8(report.unwrap()).unwrap();
    assert!(
        text.contains("the first version") && text.contains("the second version"),
        "{text}"
    );
}
