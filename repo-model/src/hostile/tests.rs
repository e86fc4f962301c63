//! Every reader is given what is changed, cut and blown up.

use super::changed::{bombs, mutated};
use super::readers::{READERS, Reader};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Longest that one reading may take: this is for endless loops, on a slow and busy machine.
const MOST: Duration = Duration::from_secs(10);

/// Whether it reads.
fn try_one(reader: &Reader, what: &str, bytes: &[u8]) -> bool {
    let start = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| (reader.read)(bytes)));
    let name = reader.name;
    let took = start.elapsed();
    assert!(took < MOST, "{name}: {what} took {took:?}");
    outcome.unwrap_or_else(|_| panic!("{name}: {what}; see the panic above"))
}

#[test]
fn no_reader_panics_or_believes_what_was_changed() {
    let secs: Option<u64> = std::env::var("HALLMARK_FUZZ_SECS")
        .ok()
        .and_then(|secs| secs.parse().ok());
    let count = u32::try_from(READERS.len()).unwrap_or(1);
    let each = Duration::from_secs(secs.unwrap_or(0)) / count;
    for reader in READERS {
        let sample = (reader.sample)();
        let until = Instant::now() + each;
        let mut seed = 1;
        while seed <= 300 || Instant::now() < until {
            try_one(reader, &format!("seed {seed}"), &mutated(&sample, seed));
            seed += 1;
        }
        // Every beginning of it, too, as a connection cuts it.
        for length in (0..sample.len()).step_by(sample.len() / 200 + 1) {
            try_one(reader, "cut", &sample[..length]);
        }
    }
}

#[test]
fn no_reader_is_held_up_by_a_bomb() {
    let bombs = bombs();
    for reader in READERS {
        for (what, bomb) in &bombs {
            try_one(reader, what, bomb);
            // Also where a part of a good document should stand.
            let sample = (reader.sample)();
            let middle = sample.len() / 2;
            let inside = [&sample[..middle], bomb, &sample[middle..]].concat();
            try_one(reader, what, &inside);
        }
    }
}

/// Samples that nobody can read would try the readers' first lines only.
#[test]
fn every_reader_reads_what_is_as_it_should_be() {
    for (index, reader) in READERS.iter().enumerate() {
        let name = reader.name;
        assert!(try_one(reader, "its sample", &(reader.sample)()), "{name}");
        assert!(!try_one(reader, "a word", b"[nonsense"), "{name}");
        let mut before = READERS[..index].iter();
        assert!(
            before.all(|other| other.name != name),
            "{name} is there twice"
        );
    }
}

/// Of the formats that the log, witnesses and `verify` are made of.
#[test]
fn every_parser_of_bad_input_is_tried_by_name() {
    let names: Vec<_> = READERS.iter().map(|reader| reader.name).collect();
    for wanted in [
        "envelope",
        "Sigstore bundle",
        "tlog-proof",
        "note and checkpoint",
        "log entry",
        "tile of entries",
        "path of a tile",
        "witness request",
        "witness answer",
        "witness policy",
        "root of trust",
        "targets of the root",
        "package list",
        "release document",
        "verification summary",
        "freshness",
        "key set",
        "keys.json",
        "builds",
        "releases",
        "channels",
        "state of a monitor",
        "entry before a monitor",
    ] {
        assert!(names.contains(&wanted), "{wanted}");
    }
}
