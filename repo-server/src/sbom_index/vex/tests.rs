use super::*;

const OPENVEX: &str = r#"{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://linux.example/vex/7",
  "author":"Security team","timestamp":"2026-01-02T03:04:05.678+01:00","version":1,"statements":[
  {"vulnerability":{"name":"CVE-2025-1","aliases":["GHSA-x"]},"status":"not_affected",
   "products":[{"@id":"https://linux.example/p","identifiers":{"purl":"pkg:rpm/linux/hello"},
                "subcomponents":[{"@id":"pkg:golang/golang.org/x/net"}]}, "not a purl"],
   "justification":"vulnerable_code_not_in_execute_path"},
  {"vulnerability":"CVE-2025-2","status":"fixed","products":["pkg:rpm/linux/hello@2-1"],
   "timestamp":"2026-02-01T00:00:00Z"},
  {"vulnerability":"CVE-2025-3","status":"affected","products":[{"@id":"pkg:rpm/linux/a","subcomponents":[{"@id":"x"}]}]}]}"#;

const CSAF: &str = r#"{"document":{"category":"csaf_vex","csaf_version":"2.0","publisher":{"name":"Linux"},
   "tracking":{"id":"L-1","current_release_date":"2026-01-02T03:04:05Z"}},
 "product_tree":{"branches":[{"branches":[{"product":{"product_id":"dist"}},
     {"product":{"product_id":"hello","product_identification_helper":{"purl":"pkg:rpm/linux/hello@2-1?arch=x86_64"}}}]},
     {"product":{"product_id":"net","product_identification_helper":{"purl":"pkg:golang/golang.org/x/net"}}}],
   "relationships":[
     {"category":"default_component_of","full_product_name":{"product_id":"dist:hello","name":"x"},"product_reference":"hello","relates_to_product_reference":"dist"},
     {"category":"default_component_of","full_product_name":{"product_id":"hello:net","name":"x"},"product_reference":"net","relates_to_product_reference":"hello"}]},
 "vulnerabilities":[{"cve":"CVE-2025-1","product_status":{"known_not_affected":["hello:net"],"fixed":["dist:hello"],"recommended":["hello"]},
   "flags":[{"label":"vulnerable_code_not_present","product_ids":["hello:net"]}],
   "remediations":[{"category":"vendor_fix","details":"update","product_ids":["dist:hello"]}]}]}"#;

#[test]
fn an_openvex_document_is_one_statement_for_each_name_product_and_part() {
    let vex = read(OPENVEX.as_bytes()).unwrap();
    assert_eq!(
        (vex.format, vex.author.as_str()),
        ("openvex", "Security team")
    );
    let found: Vec<_> = vex
        .statements
        .iter()
        .map(|s| {
            (
                s.vulnerability.as_str(),
                s.product.as_str(),
                s.subcomponent.as_deref(),
                s.status,
            )
        })
        .collect();
    let net = Some("pkg:golang/golang.org/x/net");
    assert_eq!(
        found,
        [
            (
                "CVE-2025-1",
                "pkg:rpm/linux/hello",
                net,
                VulnerabilityStatus::NotAffected
            ),
            (
                "GHSA-x",
                "pkg:rpm/linux/hello",
                net,
                VulnerabilityStatus::NotAffected
            ),
            (
                "CVE-2025-2",
                "pkg:rpm/linux/hello@2-1",
                None,
                VulnerabilityStatus::Fixed
            ),
        ]
    );
    assert_eq!(
        vex.statements[0].stated_at.to_string(),
        "2026-01-02T02:04:05Z"
    );
    assert_eq!(
        vex.statements[2].stated_at.to_string(),
        "2026-02-01T00:00:00Z"
    );
}

#[test]
fn a_csaf_document_is_read_through_its_product_tree() {
    let vex = read(CSAF.as_bytes()).unwrap();
    let found: Vec<_> = vex
        .statements
        .iter()
        .map(|s| {
            let said = s.justification.as_deref().or(s.remark.as_deref());
            (
                s.product.as_str(),
                s.subcomponent.as_deref(),
                s.status,
                said,
            )
        })
        .collect();
    let hello = "pkg:rpm/linux/hello@2-1?arch=x86_64";
    assert_eq!(
        found,
        [
            (hello, None, VulnerabilityStatus::Fixed, Some("update")),
            (
                hello,
                Some("pkg:golang/golang.org/x/net"),
                VulnerabilityStatus::NotAffected,
                Some("vulnerable_code_not_present")
            ),
        ]
    );
}

#[test]
fn documents_that_say_nothing_or_too_much_are_refused() {
    let unjustified = OPENVEX.replace(
        r#""justification":"vulnerable_code_not_in_execute_path""#,
        r#""x":1"#,
    );
    let deep = format!(r#"{{"document":{}"#, "[".repeat(100_000));
    let many = format!(
        r#"{{"@context":"https://openvex.dev/ns","timestamp":"2026-01-02T03:04:05Z","statements":[{{"vulnerability":"a","status":"fixed","products":[{}]}}]}}"#,
        vec![r#""pkg:rpm/a/b""#; MAX_STATEMENTS + 1].join(",")
    );
    for (bad, word) in [
        ("", "parse"),
        ("{}", "neither"),
        ("[]", "parse"),
        (
            r#"{"document":{"category":"csaf_base","tracking":{"id":"1","current_release_date":"2026-01-02T03:04:05Z"}}}"#,
            "neither",
        ),
        (&OPENVEX.replace("\"fixed\"", "\"mended\""), "mended"),
        (
            &OPENVEX.replace("2026-02-01T00:00:00Z", "yesterday"),
            "yesterday",
        ),
        (&OPENVEX.replace("pkg:", "gkp:"), "package URL"),
        (&unjustified, "justification"),
        (&deep, "parse"),
        (&many, "more than"),
    ] {
        let error = read(bad.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}
