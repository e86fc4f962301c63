//! Bytes flipped, lengths changed, files cut: the reader, the lint and the splicer answer or
//! refuse, and never panic.

use crate::rpm::signature::{
    LegacySlot, OpenPgpSignature, found_signatures, stripped, with_openpgp,
};
use crate::rpm::testkit::{Field, Rpm};
use crate::rpm::{Head, Package, lint, tag};
use proptest::prelude::*;
use std::path::Path;

/// Everything that intake does with a head. Returns whether it was read.
fn digest(bytes: &[u8]) -> bool {
    let Ok(head) = Head::parse(bytes) else {
        return false;
    };
    assert_eq!(head.to_bytes(), bytes[..head.payload_offset() as usize]);
    for header in [head.signature(), head.main()] {
        for (number, _, _) in header.tags() {
            header.get(number);
            header.string(number);
            header.u32s(number);
            assert!(
                header
                    .offset_of(number)
                    .is_some_and(|at| at <= head.payload_offset())
            );
        }
    }
    found_signatures(&head);
    splice(&head);
    if let Ok(package) = Package::from_head(&head) {
        lint(&head, &package);
        let paths: usize = package.files.iter().map(|file| file.path.len()).sum();
        assert!(paths <= 256 << 20);
    }
    true
}

/// What can be spliced comes apart again; what cannot is refused.
fn splice(head: &Head) {
    let signature = OpenPgpSignature {
        packet: vec![0x55; 300],
        legacy: Some(LegacySlot::Rsa),
    };
    let Ok(spliced) = with_openpgp(head, &[signature]) else {
        return;
    };
    let signed = [head.lead(), &spliced, head.main_bytes()].concat();
    assert_eq!(stripped(&Head::parse(&signed).unwrap()), stripped(head));
}

/// Generated packages of every shape, and the small ones of the public set when it is there.
fn seeds() -> Vec<Vec<u8>> {
    let probe = || {
        Rpm::binary("probe")
            .file("/etc/p", b"x")
            .dir("/srv")
            .symlink("/bin/p", "q")
    };
    let mut seeds = vec![
        probe().without_signature(tag::SIG_RESERVEDSPACE).bytes(),
        Rpm::source("probe").bytes(),
        probe()
            .set_signature(tag::SIG_RSAHEADER, Field::Bin(vec![9; 200]))
            .bytes(),
        probe()
            .set_signature(tag::SIG_OPENPGP, Field::strings(["AQID", "AQIE"]))
            .bytes(),
        probe()
            .set(tag::REQUIRENAME, Field::strings(["a", "b"]))
            .bytes(),
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/rpms");
    let mut paths: Vec<_> = ["v3", "v4", "v6"]
        .iter()
        .filter_map(|format| std::fs::read_dir(folder.join(format)).ok())
        .flat_map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())))
        .collect();
    paths.sort();
    if paths.is_empty() {
        eprintln!(
            "mutation of real packages SKIPPED: none in {}",
            folder.display()
        );
    }
    for path in paths {
        let bytes = std::fs::read(path).unwrap();
        let end = Head::parse(&bytes).unwrap().payload_offset() as usize;
        if end < 20_000 {
            seeds.push(bytes[..end].to_vec());
        }
    }
    seeds
}

/// What is done to a file: bytes at places (as fractions of the length), then perhaps a cut.
fn edits() -> impl Strategy<Value = (usize, Vec<(u32, u8)>, Option<u32>)> {
    (
        any::<usize>(),
        prop::collection::vec((any::<u32>(), any::<u8>()), 1..6),
        prop::option::weighted(0.1, any::<u32>()),
    )
}

#[test]
fn no_mutation_makes_the_reader_panic() {
    let seeds = seeds();
    let config = ProptestConfig {
        cases: 6000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |((seed, bytes, cut) in edits())| {
        let mut file = seeds[seed % seeds.len()].clone();
        for (place, byte) in bytes {
            let place = place as usize % file.len();
            file[place] = byte;
        }
        if let Some(cut) = cut {
            file.truncate(cut as usize % file.len());
        }
        digest(&file);
    });
}

#[test]
fn no_single_wrong_byte_in_a_small_package_makes_the_reader_panic() {
    let sound = Rpm::binary("p")
        .file("/a", b"x")
        .without_signature(tag::SIG_RESERVEDSPACE)
        .bytes();
    let end = Head::parse(&sound).unwrap().payload_offset() as usize;
    let (mut read, mut refused) = (0, 0);
    for place in 0..end {
        for value in [
            0,
            1,
            0x7f,
            0x80,
            0xff,
            sound[place] ^ 1,
            sound[place].wrapping_add(16),
        ] {
            let mut file = sound.clone();
            file[place] = value;
            if digest(&file) {
                read += 1;
            } else {
                refused += 1;
            }
        }
    }
    assert!(
        read > 5000 && refused > 1000,
        "{read} read, {refused} refused"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tags_with_any_values_are_read_or_refused(
        fields in prop::collection::vec((900_u32..6000, 0_u32..11, 0_u32..9, prop::collection::vec(any::<u8>(), 0..40)), 0..12)
    ) {
        let rpm = fields.iter().fold(Rpm::binary("probe").file("/x", b"y"), |rpm, (tag, kind, count, data)| {
            rpm.set(*tag, Field::Raw(*kind, *count, data.clone()))
        });
        digest(&rpm.bytes());
    }

    #[test]
    fn any_signatures_go_in_and_come_out(
        sizes in prop::collection::vec(1_usize..6000, 1..4),
        reserved in prop::sample::select(vec![4128_usize, 16_416, 2080]),
        slot in prop::sample::select(vec![None, Some(LegacySlot::Rsa), Some(LegacySlot::Dsa)])
    ) {
        let bytes = Rpm::binary("probe").set_signature(tag::SIG_RESERVEDSPACE, Field::Bin(vec![0; reserved])).bytes();
        let head = Head::parse(&bytes).unwrap();
        let signature = |(number, size): (usize, usize)| OpenPgpSignature {
            packet: vec![number as u8 + 1; size],
            legacy: slot.filter(|_| number == 0),
        };
        let set: Vec<_> = sizes.into_iter().enumerate().map(signature).collect();
        match with_openpgp(&head, &set) {
            Ok(spliced) => {
                let signed = Head::parse(&[head.lead(), &spliced, head.main_bytes()].concat()).unwrap();
                prop_assert_eq!(stripped(&signed), head.signature_bytes());
            }
            // Only where two origins would look alike, which rpm's default never does.
            Err(error) => prop_assert!(reserved != 4128, "{}", error),
        }
    }
}
