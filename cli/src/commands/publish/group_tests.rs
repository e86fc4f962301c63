//! Which files make one build, on made-up files.

use super::super::inputs::ProvenanceFile;
use super::*;
use repo_model::FileDigest;
use repo_model::buildinfo::BuildInfo;
use std::path::PathBuf;

fn file(name: &str, content: &str) -> InputFile {
    InputFile {
        path: PathBuf::from("dir").join(name),
        digest: FileDigest::of(content.as_bytes()),
        size_bytes: content.len() as u64,
    }
}

fn rpm(nevra: &str, source_rpm: Option<&str>) -> RpmFile {
    let nevra: Nevra = nevra.parse().unwrap();
    RpmFile {
        file: file(&nevra.file_name(), &nevra.to_string()),
        header: HeaderDigest::of(nevra.to_string().as_bytes()),
        nevra,
        source_rpm: source_rpm.map(str::to_owned),
    }
}

fn buildinfo(name: &str, source: &RpmFile, outputs: &[&RpmFile]) -> BuildInfoFile {
    let zero = "0".repeat(64);
    let outputs: Vec<_> = outputs
        .iter()
        .map(|rpm| {
            serde_json::json!({
                "nevra": rpm.nevra, "file_sha256": rpm.file.digest, "header_sha256": rpm.header, "size_bytes": 1
            })
        })
        .collect();
    let json = serde_json::json!({
        "schema": "rpm-buildinfo/1",
        "source": {"nevra": source.nevra, "sha256": source.file.digest, "header_sha256": source.header},
        "rpmbuild": {"version": "4.18.0", "mode": "rebuild", "argv": [], "target": "x86_64"},
        "macros": {"file_sha256": zero, "text": "", "evaluated": {}},
        "time": {"source_date_epoch": null, "origin": "none", "mtime_policy": "clamp"},
        "env": {},
        "identity": {"hostname": "h", "uid": 1000, "gid": 1000, "user": "u", "umask": "0022"},
        "machine": {"arch": "x86_64", "kernel": "6", "ncpu": 2, "page_size": 4096},
        "buildroot": {"kind": "host", "lock_sha256": zero, "installer": "dpkg", "packages": 1},
        "sandbox": {"kind": "bwrap", "version": "0.8", "network": "none", "build_path": "/b", "limits": "weak"},
        "outputs": outputs,
    });
    let info: BuildInfo = serde_json::from_value(json).unwrap();
    BuildInfoFile {
        file: file(name, name),
        info,
    }
}

fn provenance(name: &str, about: &[&RpmFile]) -> ProvenanceFile {
    ProvenanceFile {
        file: file(name, name),
        headers: about.iter().map(|rpm| rpm.header).collect(),
    }
}

/// Two builds: `a` with two packages and provenance, `b` with one and none.
fn two_builds() -> Inputs {
    let source_a = rpm("a-1-1.src", None);
    let source_b = rpm("b-1-1.src", None);
    let packages = vec![
        rpm("a-libs-1-1.x86_64", Some("a-1-1.src.rpm")),
        rpm("b-1-1.noarch", Some("b-1-1.src.rpm")),
        rpm("a-1-1.x86_64", Some("a-1-1.src.rpm")),
    ];
    Inputs {
        buildinfos: vec![
            buildinfo("b.buildinfo.json", &source_b, &[&packages[1]]),
            buildinfo("a.buildinfo.json", &source_a, &[&packages[0], &packages[2]]),
        ],
        provenances: vec![
            provenance("half.provenance.json", &[&packages[0]]),
            provenance("a.provenance.json", &[&packages[0], &packages[2]]),
        ],
        sources: vec![source_b, source_a],
        packages,
    }
}

fn only_error(inputs: &Inputs) -> GroupError {
    let mut errors: Vec<_> = group(inputs)
        .builds
        .into_iter()
        .filter_map(Result::err)
        .collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0)
}

#[test]
fn packages_meet_their_source_their_buildinfo_and_their_provenance() {
    let inputs = two_builds();
    let grouping = group(&inputs);
    let builds: Vec<_> = grouping
        .builds
        .iter()
        .map(|build| build.as_ref().unwrap())
        .collect();
    let names: Vec<Vec<_>> = builds
        .iter()
        .map(|build| build.files().map(|file| name_of(&file.path)).collect())
        .collect();
    assert_eq!(
        names,
        [
            vec![
                "a-1-1.src.rpm",
                "a-1-1.x86_64.rpm",
                "a-libs-1-1.x86_64.rpm",
                "a.buildinfo.json",
                "a.provenance.json"
            ],
            vec!["b-1-1.src.rpm", "b-1-1.noarch.rpm", "b.buildinfo.json"],
        ]
    );
    let unused: Vec<_> = grouping
        .unused
        .iter()
        .map(|file| name_of(&file.path))
        .collect();
    assert_eq!(unused, ["half.provenance.json"]);
    let manifest = builds[0].manifest(&"base".parse().unwrap());
    assert_eq!(manifest.packages.len(), 2);
    assert_eq!(manifest.provenance, Some(inputs.provenances[1].file.digest));
}

#[test]
fn one_build_that_lacks_a_file_does_not_keep_the_other_from_going_out() {
    for (name, lose) in [
        (
            "source",
            (|inputs: &mut Inputs| drop(inputs.sources.remove(1))) as fn(&mut Inputs),
        ),
        ("buildinfo", |inputs| drop(inputs.buildinfos.remove(1))),
        ("package", |inputs| drop(inputs.packages.remove(0))),
    ] {
        let mut inputs = two_builds();
        lose(&mut inputs);
        let grouping = group(&inputs);
        let good: Vec<_> = grouping
            .builds
            .iter()
            .flatten()
            .map(|build| build.source.nevra.name.as_str())
            .collect();
        assert_eq!(good, ["b"], "{name}");
        assert_eq!(grouping.builds.len(), 2, "{name}");
    }
}

#[test]
fn what_is_missing_is_named() {
    let mut inputs = two_builds();
    inputs.sources.remove(1);
    let text = only_error(&inputs).to_string();
    assert_eq!(
        text,
        "the source package a-1-1.src.rpm of a-1-1.x86_64.rpm and a-libs-1-1.x86_64.rpm is missing"
    );

    let mut inputs = two_builds();
    inputs.packages.remove(0);
    let text = only_error(&inputs).to_string();
    assert_eq!(
        text,
        "a.buildinfo.json lists a-libs-1-1.x86_64.rpm, which is not given"
    );

    let mut inputs = two_builds();
    inputs.packages.remove(1);
    let text = only_error(&inputs).to_string();
    assert_eq!(text, "no binary package of b-1-1.src.rpm is given");
}

#[test]
fn a_buildinfo_of_another_build_of_the_same_name_is_told_apart() {
    let mut inputs = two_builds();
    inputs.sources[1].file.digest = FileDigest::of(b"rebuilt srpm");
    let error = only_error(&inputs);
    let text = error.to_string();
    assert!(
        text.contains("a.buildinfo.json is of a source package of that name with other bytes"),
        "{text}"
    );

    let mut inputs = two_builds();
    inputs
        .packages
        .push(rpm("a-extra-1-1.x86_64", Some("a-1-1.src.rpm")));
    let error = only_error(&inputs);
    assert!(
        matches!(&error, GroupError::Unlisted { packages, .. } if packages == &["a-extra-1-1.x86_64.rpm"]),
        "{error}"
    );
}

#[test]
fn one_source_package_built_on_two_architectures_is_two_builds() {
    let source = rpm("a-1-1.src", None);
    let packages = vec![
        rpm("a-1-1.x86_64", Some("a-1-1.src.rpm")),
        rpm("a-1-1.aarch64", Some("a-1-1.src.rpm")),
        rpm("a-doc-1-1.noarch", Some("a-1-1.src.rpm")),
    ];
    let inputs = Inputs {
        buildinfos: vec![
            buildinfo("x.buildinfo.json", &source, &[&packages[0], &packages[2]]),
            buildinfo("arm.buildinfo.json", &source, &[&packages[1], &packages[2]]),
        ],
        sources: vec![source],
        packages,
        provenances: Vec::new(),
    };
    let grouping = group(&inputs);
    let builds: Vec<Vec<_>> = grouping
        .builds
        .iter()
        .map(|build| {
            build
                .as_ref()
                .unwrap()
                .packages
                .iter()
                .map(|p| p.nevra.to_string())
                .collect()
        })
        .collect();
    assert_eq!(
        builds,
        [
            ["a-1-1.x86_64", "a-doc-1-1.noarch"],
            ["a-1-1.aarch64", "a-doc-1-1.noarch"]
        ]
    );
}

#[test]
fn two_source_packages_of_one_name_are_refused() {
    let mut inputs = two_builds();
    let mut other = rpm("a-1-1.src", None);
    other.file = file("copy/a-1-1.src.rpm", "other bytes");
    inputs.sources.push(other);
    assert!(matches!(only_error(&inputs), GroupError::TwoSources { .. }));
}
