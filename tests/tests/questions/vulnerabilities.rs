//! Advisories that the operator imports and VEX documents that a token holder uploads, joined with what
//! is inside the packages.

use super::STORY;
use hallmark_tests::tools::BUILDING;
use hallmark_tests::{World, require};
use repo_model::FileDigest;
use repo_model::wire::sbom::{Finding, Page};

const ADVISORY: &str = r#"{"id": "RUSTSEC-2025-0004", "modified": "2025-02-03T00:00:00Z", "aliases": ["CVE-2025-24898"],
  "summary": "use after free", "affected": [{"package": {"ecosystem": "crates.io", "name": "openssl"},
  "ranges": [{"type": "SEMVER", "events": [{"introduced": "0.10.0"}, {"fixed": "0.10.70"}]}]}]}"#;

const CSAF: &str = r#"{"document": {"category": "csaf_vex", "csaf_version": "2.0", "publisher": {"name": "Linux"},
    "tracking": {"id": "LINUX-2025-1", "current_release_date": "2026-01-02T03:04:05Z"}},
  "product_tree": {"branches": [
      {"product": {"product_id": "carrier", "product_identification_helper": {"purl": "pkg:rpm/hallmark/carrier@1.0-1?arch=x86_64"}}},
      {"product": {"product_id": "openssl", "product_identification_helper": {"purl": "pkg:cargo/openssl"}}}],
    "relationships": [{"category": "default_component_of", "full_product_name": {"product_id": "carrier:openssl", "name": "x"},
      "product_reference": "openssl", "relates_to_product_reference": "carrier"}]},
  "vulnerabilities": [{"cve": "CVE-2025-24898", "product_status": {"known_not_affected": ["carrier:openssl"]},
    "flags": [{"label": "vulnerable_code_not_present", "product_ids": ["carrier:openssl"]}]}]}"#;

fn vex(status: &str, more: &str) -> String {
    format!(
        r#"{{"@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://linux.example/vex/1", "author": "Security team",
          "timestamp": "2026-01-02T03:04:05Z", "version": 1, "statements": [{{
            "vulnerability": {{"name": "CVE-2025-24898"}}, "status": "{status}"{more},
            "products": [{{"@id": "pkg:rpm/carrier@1.0-1", "subcomponents": [{{"@id": "pkg:cargo/openssl"}}]}}]}}]}}"#
    )
}

/// (version of the package, status, who says so, justification).
fn told(world: &World, arguments: &[&str]) -> Vec<(String, &'static str, String, Option<String>)> {
    let mut all = vec!["vulnerabilities", "CVE-2025-24898", "--json"];
    all.extend(arguments);
    let page: Page<Finding> = serde_json::from_str(&world.hallmark_ok(&all)).expect("findings");
    let brief = |finding: Finding| {
        let version = finding.package.nevra.evr.version;
        (
            version,
            finding.status.name(),
            finding.said_by,
            finding.justification,
        )
    };
    page.items.into_iter().map(brief).collect()
}

#[test]
fn what_is_affected_is_told_until_a_statement_says_why_it_does_not_matter() {
    require!(BUILDING);
    let story = &*STORY;
    let world = story.world.watch();
    let folder = world.new_dir("osv");
    std::fs::write(folder.join("RUSTSEC-2025-0004.json"), ADVISORY).expect("it is ours");
    world.hallmark_ok(&["sbom", "advisories", folder.to_str().expect("UTF-8")]);
    let row = |version: &str, status, by: &str, why: Option<&str>| {
        (
            version.to_owned(),
            status,
            by.to_owned(),
            why.map(str::to_owned),
        )
    };
    let (affected, fixed) = (
        row("1.0", "affected", "osv", None),
        row("2.0", "fixed", "osv", None),
    );
    assert_eq!(told(&world, &[]), [affected.clone(), fixed.clone()]);
    assert_eq!(
        told(&world, &["--status", "affected"]),
        std::slice::from_ref(&affected)
    );
    let first = story.releases[0].to_string();
    assert_eq!(
        told(&world, &["--release", &first]),
        std::slice::from_ref(&affected)
    );

    let file = world.dir().join("vex.json");
    let justified = vex(
        "not_affected",
        r#", "justification": "vulnerable_code_not_in_execute_path""#,
    );
    std::fs::write(&file, &justified).expect("it is ours");
    let path = file.to_str().expect("UTF-8");
    let digest = world.hallmark_ok(&["vex", "add", path]);
    assert_eq!(
        digest.trim(),
        FileDigest::of(justified.as_bytes()).to_string()
    );
    let excused = row(
        "1.0",
        "not_affected",
        "vex",
        Some("vulnerable_code_not_in_execute_path"),
    );
    assert_eq!(told(&world, &[]), [excused, fixed.clone()]);
    let anonymous = world.http.with_token(None);
    let evidence = anonymous.fetch(&format!("/evidence/sha256/{}", digest.trim()));
    assert_eq!(evidence, justified.as_bytes());
    assert!(
        world
            .hallmark_ok(&["vex", "list"])
            .contains("https://linux.example/vex/1")
    );

    std::fs::write(&file, vex("not_affected", "")).expect("it is ours");
    let refused = world.hallmark(&["vex", "add", path]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("without a justification"));
    world.hallmark_ok(&["vex", "withdraw", digest.trim()]);
    assert_eq!(told(&world, &[]), [affected.clone(), fixed.clone()]);

    // The other format: what is excused is a part within a package, by way of the product tree.
    std::fs::write(&file, CSAF).expect("it is ours");
    let digest = world.hallmark_ok(&["vex", "add", path]);
    let excused = row(
        "1.0",
        "not_affected",
        "vex",
        Some("vulnerable_code_not_present"),
    );
    assert_eq!(told(&world, &[]), [excused, fixed.clone()]);
    assert!(world.hallmark_ok(&["vex", "list"]).contains("LINUX-2025-1"));
    let stored = anonymous.fetch(&format!("/evidence/sha256/{}", digest.trim()));
    assert_eq!(stored, CSAF.as_bytes());
    // Another profile of CSAF makes no such statements.
    std::fs::write(&file, CSAF.replace("csaf_vex", "csaf_base")).expect("it is ours");
    let refused = world.hallmark(&["vex", "add", path]);
    assert_ne!(refused.status.code(), Some(0));
    world.hallmark_ok(&["vex", "withdraw", digest.trim()]);
    assert_eq!(told(&world, &[]), [affected, fixed]);
}
