//! What is found in a package whose contents are known.

mod common;

use sbom_gen::{Component, Role, Scope};

fn purls(components: &[Component]) -> Vec<&str> {
    components
        .iter()
        .map(|component| component.purl.as_str())
        .collect()
}

#[test]
fn every_known_component_is_found_and_the_package_itself_is_none_of_them() {
    let inventory = common::inventory(&common::fixture()).unwrap();
    assert_eq!(purls(&inventory.components), common::KNOWN);
    let identities: Vec<_> = inventory
        .identities
        .iter()
        .map(|own| own.purl.as_str())
        .collect();
    assert_eq!(
        identities,
        [
            "pkg:cargo/fixture@1.2.3",
            "pkg:golang/example.com/fixture",
            "pkg:golang/example.com/old@v1.2.3",
            "pkg:npm/fixture@1.2.3",
            "pkg:pypi/fixture@1.2.3",
        ]
    );
    assert_eq!(inventory.not_inspected, []);
    for component in &inventory.components {
        let scope = match component.name.as_str() {
            "cc" => Scope::Excluded,
            _ => Scope::Required,
        };
        assert_eq!(
            (component.scope, component.role),
            (scope, Role::Part),
            "{}",
            component.purl
        );
    }
}

#[test]
fn what_lies_in_archives_and_in_forms_of_older_tools_is_found_as_well() {
    let inventory = common::inventory(&common::nested()).unwrap();
    assert_eq!(purls(&inventory.components), common::NESTED);
    assert_eq!(inventory.not_inspected, []);
    let found = |purl: &str| {
        let mut components = inventory.components.iter();
        components.find(|found| found.purl == purl).unwrap()
    };
    let within = |purl: &str| {
        let mut properties = found(purl).properties.iter();
        let within = properties.find(|(name, _)| name == "java:within");
        within.map(|(_, value)| value.as_str())
    };
    assert_eq!(
        within("pkg:maven/com.acme/deep@1.0"),
        Some("web.war!/WEB-INF/lib/deep.jar")
    );
    assert_eq!(within("pkg:maven/com.acme/two@1.2"), Some("lib/shaded.jar"));
    let sources = |purl: &str| {
        let evidence = found(purl).evidence.iter();
        evidence.map(|one| one.source).collect::<Vec<_>>()
    };
    assert_eq!(
        sources("pkg:npm/%40scope/inner@4.0.0"),
        ["npm-installed-list", "npm-package-json"]
    );
    assert_eq!(sources("pkg:pypi/pip@24.0"), ["python-archive"]);
    assert_eq!(sources("pkg:nuget/Newtonsoft.Json@13.0.3"), ["dotnet-deps"]);
}

#[test]
fn archives_within_too_many_others_are_named_and_their_neighbours_read() {
    let pom = b"groupId=g\nartifactId=a\nversion=1\n".to_vec();
    let mut archive = common::elf::jar(&[("META-INF/maven/g/a/pom.properties", pom.clone())]);
    for _ in 0..4 {
        archive = common::elf::jar(&[("inner.jar", archive)]);
    }
    let damaged = b"PK\x03\x04 and no more".to_vec();
    let files = [
        ("/usr/share/java/deep.jar", archive),
        (
            "/usr/share/java/half.jar",
            common::elf::jar(&[
                ("damaged.jar", damaged),
                ("META-INF/maven/g/a/pom.properties", pom),
            ]),
        ),
    ];
    let mut builder = common::builder("deep", rpm::BuildConfig::v4());
    for (path, content) in files {
        let file = rpm::FileOptions::new(path);
        builder.with_file_contents(content, file).unwrap();
    }
    let inventory = common::inventory(&common::bytes(&mut builder)).unwrap();
    assert_eq!(purls(&inventory.components), ["pkg:maven/g/a@1"]);
    let reasons: Vec<_> = inventory
        .not_inspected
        .iter()
        .map(|one| (one.path.as_str(), one.reason.as_str()))
        .collect();
    assert_eq!(
        reasons,
        [
            (
                "/usr/share/java/deep.jar",
                "maven-pom-properties: inner.jar: an archive within 3 others"
            ),
            (
                "/usr/share/java/half.jar",
                "maven-pom-properties: damaged.jar: not a whole zip archive"
            ),
        ]
    );
}

#[test]
fn a_bundled_version_that_is_not_the_one_seen_is_a_conflict() {
    let inventory = common::inventory(&common::fixture()).unwrap();
    let [conflict] = &inventory.conflicts[..] else {
        panic!("{:?}", inventory.conflicts)
    };
    assert_eq!(conflict.declared, "pkg:golang/golang.org/x/net@v0.29.0");
    assert_eq!(conflict.observed, "pkg:golang/golang.org/x/net@v0.30.0");
    let marked = inventory.components.iter().filter(|component| {
        component
            .properties
            .iter()
            .any(|(name, _)| name == "sbom:conflict")
    });
    assert_eq!(marked.count(), 2);
}

#[test]
fn one_component_seen_twice_is_one_with_more_evidence() {
    let mut builder = common::builder("twice", rpm::BuildConfig::v4());
    let text = "dep\tgolang.org/x/net\tv0.30.0\n";
    for path in ["/usr/bin/a", "/usr/bin/b"] {
        let file = rpm::FileOptions::new(path);
        builder
            .with_file_contents(common::elf::go_since_1_18(text), file)
            .unwrap();
    }
    builder.provides(rpm::Dependency::eq(
        "bundled(golang(golang.org/x/net))",
        "0.30.0",
    ));
    let inventory = common::inventory(&common::bytes(&mut builder)).unwrap();
    let net = inventory
        .components
        .iter()
        .find(|found| found.name == "net")
        .unwrap();
    let evidence: Vec<_> = net
        .evidence
        .iter()
        .map(|one| (one.source, one.path.as_deref()))
        .collect();
    assert_eq!(
        evidence,
        [
            ("bundled-provide", None),
            ("go-buildinfo", Some("/usr/bin/a")),
            ("go-buildinfo", Some("/usr/bin/b")),
        ]
    );
    assert_eq!(inventory.conflicts, []);
}

#[test]
fn files_carry_three_right_digests_and_ghosts_and_directories_are_left_out() {
    let inventory = common::inventory(&common::fixture()).unwrap();
    assert_eq!(inventory.files.len(), 18);
    assert!(inventory.files.is_sorted_by(|a, b| a.path < b.path));
    let file = |path: &str| {
        inventory
            .files
            .iter()
            .find(|file| file.path == path)
            .unwrap()
    };
    let readme = file("/usr/share/doc/fixture/README").hashes.unwrap();
    // printf 'Read me.\n' | sha1sum, sha256sum, sha512sum
    assert_eq!(
        readme.sha1_hex(),
        "25da224223647d01730bc07367a52353dfc61335"
    );
    assert_eq!(
        readme.sha256_hex(),
        "0378767b3aa93349bb79cdd0ba46bd5979bb7adfb8cbcfe2404097479935be50"
    );
    assert!(
        readme
            .sha512_hex()
            .starts_with("753efb8a045a2426b271b0e333a6d8ca")
    );
    let link = file("/usr/lib64/libfixture.so");
    assert_eq!(
        (link.link_target.as_deref(), link.hashes),
        (Some("libfixture.so.1"), None)
    );
    let build_id = file("/usr/lib64/libfixture.so.1").build_id.as_deref();
    assert_eq!(build_id, Some("ab".repeat(20).as_str()));
}

#[test]
fn hard_links_share_their_content_in_both_archive_forms() {
    for config in [rpm::BuildConfig::v4(), rpm::BuildConfig::v6()] {
        let mut builder = common::builder("links", config);
        let plain = rpm::FileOptions::new("/usr/share/a-first");
        builder
            .with_file_contents(b"something else", plain)
            .unwrap();
        for path in ["/usr/share/one", "/usr/share/three", "/usr/share/two"] {
            let file = rpm::FileOptions::new(path).hardlink("content");
            builder.with_file_contents(b"shared content", file).unwrap();
        }
        let inventory = common::inventory(&common::bytes(&mut builder)).unwrap();
        let digests: Vec<_> = inventory
            .files
            .iter()
            .map(|file| file.hashes.unwrap().sha256_hex())
            .collect();
        assert_eq!(digests.len(), 4);
        assert!(
            digests[1..].iter().all(|digest| *digest == digests[1]),
            "{digests:?}"
        );
        assert_ne!(digests[0], digests[1]);
    }
}

#[test]
fn the_whole_files_hashes_are_there_only_when_asked_for() {
    let rpm = common::fixture();
    assert_eq!(common::inventory(&rpm).unwrap().rpm_hashes, None);
    let options = sbom_gen::Options {
        file_hashes: true,
        ..common::options()
    };
    let found = sbom_gen::inventory(&rpm[..], &options)
        .unwrap()
        .rpm_hashes
        .unwrap();
    assert_eq!(
        found.sha256_hex(),
        repo_model::FileDigest::of(&rpm).to_hex()
    );
}

#[test]
fn every_claim_says_how_it_is_known_and_how_surely() {
    let inventory = common::inventory(&common::fixture()).unwrap();
    let wanted = [
        ("pkg:cargo/memchr@2.7.1", "rust-panic-paths", 60),
        ("pkg:cargo/serde@1.0.200", "cargo-auditable", 100),
        ("pkg:cargo/anyhow@1.0.80", "cargo-vendor-list", 90),
        ("pkg:golang/a.example/c@v1.1.0", "go-modules-list", 90),
        ("pkg:maven/com.acme/inner@3.1", "maven-pom-properties", 90),
        ("pkg:gem/rack@3.0.8", "gemspec", 90),
        (
            "pkg:composer/monolog/monolog@3.5.0",
            "composer-installed",
            90,
        ),
        ("pkg:generic/libpng@1.6.43", "wheel-sbom", 90),
        ("pkg:generic/zlib@1.3.1", "bundled-provide", 80),
    ];
    for (purl, source, confidence_percent) in wanted {
        let component = inventory.components.iter().find(|found| found.purl == purl);
        let evidence: Vec<_> = component
            .unwrap_or_else(|| panic!("no {purl}"))
            .evidence
            .iter()
            .map(|one| (one.source, one.confidence_percent))
            .collect();
        assert_eq!(evidence, [(source, confidence_percent)], "{purl}");
    }
    let inner = inventory
        .components
        .iter()
        .find(|found| found.name == "inner");
    let within = (
        "java:within".to_owned(),
        "BOOT-INF/lib/inner.jar".to_owned(),
    );
    assert!(inner.unwrap().properties.contains(&within));
}
