//! What a package manager tells, and what lies in the client's own files: changed, cut and blown up, it is read or
//! refused, without a panic. `HALLMARK_FUZZ_SECS` goes on with further seeds for so long.

use super::config;
use super::dnf5::Dnf5;
use super::seen::Seen;
use super::transaction::Transaction;
use repo_model::hostile::changed::{bombs, mutated};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Longest that one reading may take, on a slow and busy machine.
const MOST: Duration = Duration::from_secs(10);

/// Answers of libdnf5 to all that is asked of one package, one a line.
const ANSWERS: &str = r#"{"status":"OK","return":{"trans_packages":[{"nevra":"a-1-1.noarch","repo_id":"acme","location":"a-1-1.noarch.rpm"}]}}
{"status":"OK","return":{"keys_val":[{"key":"acme.baseurl","value":"http://a/x,http://b/x"}]}}
{"status":"ERROR","message":"Option value is not set"}
{"status":"ERROR","message":"Option value is not set"}
{"status":"OK","return":{"keys_val":[{"key":"cachedir","value":"/nonexistent"}]}}
{"status":"OK","return":{"keys_val":[{"key":"system_cachedir","value":"/nonexistent"}]}}
"#;
const TRANSACTION: &str = r#"{"repositories":[{"id":"acme","urls":["http://a/x"]}],"packages":[{"nevra":"a-1-1.noarch","repo_id":"acme","paths":["/a.rpm"]}]}"#;
const SEEN: &str = r#"{"release":{"id":5,"issued":"2026-11-20T10:06:00Z"},"log":{"origin":"l","size":1,"root":"r"},"copies":{},"used":{"acme":5}}"#;

/// Name, something that reads well, and whether it reads.
type Reader = (&'static str, &'static str, fn(&[u8]) -> bool);

const READERS: &[Reader] = &[
    ("libdnf5's answers", ANSWERS, |bytes| {
        Dnf5::new(bytes, Vec::new()).transaction().is_ok()
    }),
    ("a transaction", TRANSACTION, |bytes| {
        serde_json::from_slice::<Transaction>(bytes).is_ok()
    }),
    (
        "client.toml",
        include_str!("../../client/client.toml"),
        |bytes| config::parse(&String::from_utf8_lossy(bytes)).is_ok(),
    ),
    ("seen.json", SEEN, |bytes| {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("seen.json"), bytes).unwrap();
        Seen::read(dir.path()).is_ok()
    }),
];

#[test]
fn nothing_that_a_package_manager_tells_makes_its_reader_panic_or_hang() {
    let secs = std::env::var("HALLMARK_FUZZ_SECS");
    let secs: u64 = secs.ok().and_then(|secs| secs.parse().ok()).unwrap_or(0);
    for (name, sample, read) in READERS {
        assert!(read(sample.as_bytes()), "{name}");
        let attempt = |what: &str, bytes: &[u8]| {
            let start = Instant::now();
            let outcome = catch_unwind(AssertUnwindSafe(|| read(bytes)));
            assert!(outcome.is_ok(), "{name}: {what}; see the panic above");
            assert!(start.elapsed() < MOST, "{name}: {what}");
        };
        let until = Instant::now() + Duration::from_secs(secs) / READERS.len() as u32;
        let mut seed = 1;
        while seed <= 300 || Instant::now() < until {
            attempt(&format!("seed {seed}"), &mutated(sample.as_bytes(), seed));
            seed += 1;
        }
        for (what, bomb) in bombs() {
            attempt(what, &bomb);
        }
    }
}
