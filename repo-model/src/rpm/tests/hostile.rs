//! Files that lie about themselves.

use crate::rpm::testkit::{Field, Rpm, header};
use crate::rpm::{Head, HeadLimits, HeaderError, Package, Section, tag};
use std::io::{self, Read};

fn refusal(bytes: &[u8]) -> String {
    match Head::parse(bytes) {
        Ok(_) => panic!("was read"),
        Err(error) => error.to_string(),
    }
}

/// A sound lead and signature header before this main header.
fn with_main(main: &[u8]) -> Vec<u8> {
    let sound = Rpm::binary("probe").bytes();
    let head = Head::parse(&sound).unwrap();
    [head.lead(), head.signature_bytes(), main].concat()
}

/// A main header of one entry as given, with this store.
fn one_entry(entry: [u32; 4], store: &[u8]) -> Vec<u8> {
    let introduction = [0x8ead_e801, 0, 1, store.len() as u32];
    let words = introduction.into_iter().chain(entry);
    with_main(&[words.flat_map(u32::to_be_bytes).collect(), store.to_vec()].concat())
}

#[test]
fn what_is_no_rpm_is_called_so() {
    assert!(refusal(b"").contains("the lead is cut off: 96 bytes announced at offset 0, 0 there"));
    assert_eq!(
        refusal(b"hello"),
        "not an RPM: starts with 68656c6c, want edabeedb"
    );
    assert!(refusal(&[0xed, 0xab]).contains("cut off"));
    let mut sound = Rpm::binary("probe").bytes();
    for (at, value, says) in [
        (4, 2, "the major version is 2"),
        (7, 2, "package type is 2"),
        (79, 0, "signature type is 0"),
    ] {
        let was = std::mem::replace(&mut sound[at], value);
        assert!(refusal(&sound).contains(says), "{}", refusal(&sound));
        sound[at] = was;
    }
    sound[96] = 0;
    assert!(refusal(&sound).contains("the signature header has no header magic at offset 96"));
}

/// Ends the test when more than `left` bytes are asked for.
struct Meter<R> {
    inner: R,
    left: usize,
}

impl<R: Read> Read for Meter<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(got)
            .expect("read more than it should");
        Ok(got)
    }
}

#[test]
fn a_gigabyte_header_is_refused_before_it_is_read() {
    let (lead, limits) = (
        Rpm::binary("probe").bytes()[..96].to_vec(),
        HeadLimits::default(),
    );
    for (entries, bytes, says) in [
        (
            5_u32,
            1_u32 << 30,
            "announces 1073741824 bytes of data at offset 108, the limit is 33554432",
        ),
        (
            u32::MAX,
            16,
            "announces 4294967295 entries at offset 104, the limit is 32",
        ),
        (33, 16, "announces 33 entries"),
        (u32::MAX, u32::MAX, "announces 4294967295 entries"),
    ] {
        let announced = [0x8ead_e801, 0, entries, bytes]
            .map(u32::to_be_bytes)
            .concat();
        let file = lead
            .as_slice()
            .chain(io::Cursor::new(announced))
            .chain(io::repeat(0));
        let error = Head::read(
            Meter {
                inner: file,
                left: 112,
            },
            &limits,
        )
        .unwrap_err()
        .to_string();
        assert!(error.contains(says), "{error}");
    }
    let main = [0x8ead_e801_u32, 0, 65_536, 16]
        .map(u32::to_be_bytes)
        .concat();
    assert!(refusal(&with_main(&main)).contains("the main header announces 65536 entries"));
    let main = [0x8ead_e801_u32, 0, 9, 64 << 20 | 1]
        .map(u32::to_be_bytes)
        .concat();
    assert!(refusal(&with_main(&main)).contains("the limit is 67108864"));
}

#[test]
fn a_header_within_the_limit_that_never_comes_costs_nothing() {
    let main = [0x8ead_e801_u32, 0, 60_000, 60 << 20]
        .map(u32::to_be_bytes)
        .concat();
    let error = refusal(&with_main(&main));
    assert!(
        error.contains("main header is cut off") && error.contains(" 0 there"),
        "{error}"
    );
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let rpm = Rpm::binary("probe")
        .file("/etc/x", b"x")
        .without_signature(tag::SIG_RESERVEDSPACE);
    let bytes = rpm.bytes();
    let end = Head::parse(&bytes).unwrap().payload_offset() as usize;
    for cut in 0..end {
        assert!(
            matches!(
                Head::parse(&bytes[..cut]),
                Err(HeaderError::Truncated { .. })
            ),
            "{cut}"
        );
    }
    assert_eq!(Head::parse(&bytes[..end]).unwrap().to_bytes(), bytes[..end]);
}

#[test]
fn a_reader_that_fails_is_told_apart_from_a_bad_file() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the line went dead"))
        }
    }
    let bytes = Rpm::binary("probe").bytes();
    let error = Head::read(bytes[..300].chain(Broken), &HeadLimits::default()).unwrap_err();
    let HeaderError::Read {
        section,
        offset,
        source,
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!(
        (section, offset, source.to_string().as_str()),
        (Section::Signature, 112, "the line went dead")
    );
}

#[test]
fn each_wrong_entry_is_named_with_its_place() {
    let index = Head::parse(&Rpm::binary("probe").bytes())
        .unwrap()
        .header_range()
        .start
        + 16;
    let text = b"abc\0";
    for (entry, store, says) in [
        (
            [1000, 10, 0, 1],
            &text[..],
            "type 10 is unknown, want 0 to 9",
        ),
        ([1000, 6, 0, 2], text, "a string with a count of 2, want 1"),
        ([1000, 6, 0, 0], text, "a string with a count of 0, want 1"),
        (
            [1000, 6, 5, 1],
            text,
            "its data starts at 5 of 4 bytes of data",
        ),
        (
            [1000, 6, u32::MAX, 1],
            text,
            "its data starts at 4294967295 of 4 bytes",
        ),
        ([1000, 6, 0, 1], b"abc", "a string at 0 has no end"),
        ([1000, 6, 4, 1], text, "a string at 4 has no end"),
        ([1000, 8, 0, 2], text, "a string at 0 has no end"),
        ([1000, 9, 0, 200_000], text, "a string at 0 has no end"),
        (
            [1000, 8, 0, 262_145],
            text,
            "262145 values, the limit is 262144",
        ),
        (
            [1000, 4, 0, 2],
            text,
            "its 8 bytes at 0 pass the end of 4 bytes of data",
        ),
        ([1000, 7, 1, 4], text, "its 4 bytes at 1 pass the end"),
        (
            [1000, 7, 0, u32::MAX],
            text,
            "its 4294967295 bytes at 0 pass the end",
        ),
        (
            [1000, 5, 0, 1 << 18],
            text,
            "its 2097152 bytes at 0 pass the end",
        ),
        (
            [1000, 3, 1, 1],
            text,
            "its data starts at 1, want a multiple of 2",
        ),
        (
            [1000, 4, 2, 1],
            text,
            "its data starts at 2, want a multiple of 4",
        ),
        (
            [1000, 5, 4, 0],
            text,
            "its data starts at 4, want a multiple of 8",
        ),
        ([99, 6, 0, 1], text, "numbers below 100 are reserved"),
        ([0, 6, 0, 1], text, "numbers below 100 are reserved"),
    ] {
        let error = refusal(&one_entry(entry, store));
        assert!(error.contains(says), "{entry:?}: {error}");
        assert!(
            error.contains(&format!("index entry at offset {index}")),
            "{error}"
        );
        if entry[0] == 1000 {
            assert!(
                error.starts_with("tag 1000 (NAME) of the main header"),
                "{error}"
            );
        }
    }
}

#[test]
fn entries_that_share_data_are_refused_so_reading_stays_linear() {
    let entries = [1000_u32, 8, 0, 4, 1001, 8, 1, 3]
        .map(u32::to_be_bytes)
        .concat();
    let main = [
        [0x8ead_e801_u32, 0, 2, 4].map(u32::to_be_bytes).concat(),
        entries,
        vec![0; 4],
    ]
    .concat();
    let error = refusal(&with_main(&main));
    assert!(
        error.contains("tag 1001 (VERSION)") && error.contains("overlaps that of tag 1000"),
        "{error}"
    );
}

#[test]
fn a_header_without_entries_is_refused() {
    let main = [0x8ead_e801_u32, 0, 0, 0].map(u32::to_be_bytes).concat();
    assert!(refusal(&with_main(&main)).contains("has no entries"));
}

#[test]
fn a_region_must_point_back_to_its_index() {
    let sound = header(
        Some(tag::HEADERIMMUTABLE),
        vec![(tag::NAME, Field::str("probe"))],
    );
    let trailer = sound.len() - 16;
    assert!(Head::parse(&with_main(&sound)).is_ok());
    for (at, value, says) in [
        (trailer + 3, 62, "the trailer is of another region"),
        (trailer + 7, 6, "the trailer is not 16 bytes"),
        (trailer + 15, 15, "the trailer is not 16 bytes"),
        (trailer + 11, 0xd0, "does not point back to the index"),
        (trailer + 11, 0xe1, "does not point back to the index"),
        (trailer + 8, 0, "does not point back to the index"),
        (16 + 3, 62, "the region tag belongs into the other header"),
        (16 + 7, 2, "the region is not 16 bytes"),
    ] {
        let mut main = sound.clone();
        main[at] = value;
        let error = refusal(&with_main(&main));
        assert!(error.contains(says), "{at}: {error}");
    }
}

#[test]
fn entries_outside_the_region_are_seen() {
    let mut main = header(
        Some(tag::HEADERIMMUTABLE),
        vec![
            (tag::NAME, Field::str("a")),
            (tag::VERSION, Field::str("1")),
        ],
    );
    assert!(
        !Head::parse(&with_main(&main))
            .unwrap()
            .main()
            .has_dribbles()
    );
    let trailer = main.len() - 16;
    main[trailer + 11] = 0xe0;
    let head = Head::parse(&with_main(&main)).unwrap();
    assert!(head.main().has_dribbles());
    assert_eq!(head.main().region().unwrap().entries, 2);
}

#[test]
fn values_come_back_as_they_were_put_in() {
    let bytes = Rpm::binary("probe")
        .set(6000, Field::Int8(vec![1, 255]))
        .set(6001, Field::Int16(vec![1, 0xffff]))
        .set(6002, Field::Int32(vec![1, u32::MAX]))
        .set(6003, Field::Int64(vec![1, u64::MAX]))
        .set(6004, Field::Bin(vec![1, 0, 2]))
        .set(6005, Field::strings(["a", "", "b"]))
        .set(6006, Field::Raw(1, 2, b"xy".to_vec()))
        .set(6007, Field::Raw(0, 0, Vec::new()))
        .bytes();
    let head = Head::parse(&bytes).unwrap();
    let main = head.main();
    assert_eq!(
        (main.u32s(6000), main.u64s(6000)),
        (vec![1, 255], vec![1, 255])
    );
    assert_eq!(
        (main.u32s(6001), main.u64s(6002)),
        (vec![1, 0xffff], vec![1, 0xffff_ffff])
    );
    assert_eq!(
        (main.u32s(6003), main.u64s(6003)),
        (vec![], vec![1, u64::MAX])
    );
    assert_eq!(
        (main.bin(6004), main.bin(6005)),
        (Some(&[1, 0, 2][..]), None)
    );
    assert_eq!(main.strings(6005), [&b"a"[..], b"", b"b"]);
    assert_eq!(
        (main.string(6005), main.string(6004), main.string(6999)),
        (Some(&b"a"[..]), None, None)
    );
    assert_eq!(main.u64s(6006), [u64::from(b'x'), u64::from(b'y')]);
    assert_eq!(main.get(6007), Some(crate::rpm::Value::Null));
    let at = main.offset_of(6004).unwrap() as usize;
    assert_eq!(bytes[at..at + 3], [1, 0, 2]);
    assert_eq!(
        main.tags()
            .filter(|(number, _, _)| (6000..6008).contains(number))
            .count(),
        8
    );
    assert_eq!(
        Package::from_head(&head).unwrap().header_range,
        head.header_range()
    );
}
