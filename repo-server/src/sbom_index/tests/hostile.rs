//! Mutations of advisories and VEX documents: their readers answer or refuse, quickly, and what they answer can be
//! judged. Seeds are fixed, so that a failure comes again; `HALLMARK_FUZZ_SECS` goes on with further ones.

use crate::sbom_index::osv::Advisory;
use crate::sbom_index::versions::Order;
use crate::sbom_index::vex;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

const OSV: &str = r#"{"id":"X-1","modified":"2025-01-01T00:00:00Z","aliases":["CVE-1"],"upstream":["CVE-2"],"summary":"bad",
  "severity":[{"score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
  "affected":[{"package":{"ecosystem":"Go","name":"golang.org/x/net"},
    "ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"0.38.0"},{"introduced":"1.0.0-rc.1"},{"last_affected":"1.2"}]}],
    "versions":["0.1.0","v0.2"]},
   {"package":{"ecosystem":"AlmaLinux:9","name":"alpha"},
    "ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"1:1.0-3.el9"}]}]}]}"#;
const OPENVEX: &str = r#"{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://x/7","author":"X",
  "timestamp":"2026-01-02T03:04:05Z","version":1,"statements":[
  {"vulnerability":{"name":"CVE-1","aliases":["GHSA-x"]},"status":"not_affected","justification":"component_not_present",
   "products":[{"@id":"https://x/p","identifiers":{"purl":"pkg:rpm/x/hello"},"subcomponents":[{"@id":"pkg:golang/a"}]}]},
  {"vulnerability":"CVE-2","status":"fixed","products":["pkg:rpm/x/hello@2-1"]}]}"#;
const CSAF: &str = r#"{"document":{"category":"csaf_vex","csaf_version":"2.0","publisher":{"name":"X"},
   "tracking":{"id":"L-1","current_release_date":"2026-01-02T03:04:05Z"}},
 "product_tree":{"branches":[{"branches":[{"product":{"product_id":"d"}},
     {"product":{"product_id":"h","product_identification_helper":{"purl":"pkg:rpm/x/hello@2-1"}}}]}],
   "relationships":[{"category":"default_component_of","full_product_name":{"product_id":"d:h","name":"x"},
     "product_reference":"h","relates_to_product_reference":"d"}]},
 "vulnerabilities":[{"cve":"CVE-1","product_status":{"known_not_affected":["h"],"fixed":["d:h"]},
   "flags":[{"label":"vulnerable_code_not_present","product_ids":["h"]}]}]}"#;

/// What stands in such documents, and what should not.
const PIECES: [&str; 20] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "null",
    "true",
    "-1",
    "1e999",
    "\"\"",
    "\"0\"",
    "\\u0000",
    "\\ud800",
    "{\"introduced\":\"\"},",
    "{\"product_id\":\"d:h\"},",
    "9999999999999999999999",
    "\"d:h\",",
    "[[[[[[[[[[[[",
];

/// A small source of choices that a seed makes again.
struct Choices(u64);

impl Choices {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

fn mutated(text: &str, choices: &mut Choices) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=choices.below(3) {
        let at = choices.below(bytes.len() + 1);
        let end = (at + choices.below(60)).min(bytes.len());
        match choices.below(6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            3 if at < bytes.len() => bytes[at] = choices.below(256) as u8,
            _ => {
                let piece = PIECES[choices.below(PIECES.len())];
                // Over something else as often as between two things.
                let end = if choices.below(2) == 0 { at } else { end };
                bytes.splice(at..end, piece.bytes());
            }
        }
    }
    bytes
}

/// Runs `read` over mutations; how many it took.
fn with_mutations(what: &str, text: &str, read: impl Fn(&[u8]) -> bool) -> u64 {
    let secs = std::env::var("HALLMARK_FUZZ_SECS");
    let secs = secs.ok().and_then(|secs| secs.parse().ok()).unwrap_or(0);
    let until = Instant::now() + Duration::from_secs(secs);
    let (mut seed, mut taken) = (1_u64, 0);
    while seed <= 4_000 || Instant::now() < until {
        let mut choices = Choices(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let bytes = mutated(text, &mut choices);
        let start = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| read(&bytes)));
        let text = String::from_utf8_lossy(&bytes);
        taken += u64::from(outcome.unwrap_or_else(|_| panic!("{what}: seed {seed}: {text}")));
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{what}: seed {seed}"
        );
        seed += 1;
    }
    taken
}

#[test]
fn no_mutation_of_an_advisory_makes_its_reader_panic_and_what_it_reads_can_be_judged() {
    let taken = with_mutations("osv", OSV, |bytes| {
        let Ok(Some(advisory)) = Advisory::read(bytes, &["AlmaLinux:9".to_owned()]) else {
            return false;
        };
        for (_, affected) in &advisory.affected {
            for order in [Order::Rpm, Order::Semver, Order::Python, Order::Dotted] {
                for version in ["", "0", "0.38.0", "1:1.0-3.el9", "1.0.0-rc.1+x"] {
                    affected.judge(order, version);
                }
            }
        }
        true
    });
    assert!(taken > 100, "only {taken} were read");
}

#[test]
fn no_mutation_of_a_vex_document_makes_its_reader_panic() {
    for (what, text) in [("openvex", OPENVEX), ("csaf", CSAF)] {
        let taken = with_mutations(what, text, |bytes| vex::read(bytes).is_ok());
        assert!(taken > 100, "{what}: only {taken} were read");
    }
}
