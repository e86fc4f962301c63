//! Bytes with something wrong: changed here and there, and small to send but large to read.

/// Numbers from a seed (xorshift64*).
struct Numbers(u64);

impl Numbers {
    fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(number).unwrap_or(0) % limit.max(1)
    }
}

/// What readers stumble over.
const TOKENS: &[&[u8]] = &[
    b"\0",
    b"\n",
    b"\n\n",
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"9223372036854775807",
    b"null",
    b"true",
    b"\\u0000",
    b"\\ud800",
    b"\xff\xfe",
    b"\xe2\x80\x94 ",
    b"+",
    b"/",
    b"=",
    b"../",
    b"%00",
    b" ",
    b"AAAA",
    b"\"_type\":1,",
    b"subject",
];

/// The sample with up to four changes; the same for the same seed.
pub fn mutated(sample: &[u8], seed: u64) -> Vec<u8> {
    let mut numbers = Numbers::of(seed);
    let mut bytes = sample.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(bytes.len() + 1);
        let end = (at + numbers.below(64)).min(bytes.len());
        match numbers.below(6) {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = u8::try_from(numbers.below(256)).unwrap_or(0);
                }
            }
            1 => drop(bytes.drain(at..end)),
            2 => bytes.truncate(at),
            3 => {
                let part = bytes[at..end].to_vec();
                let to = numbers.below(bytes.len() + 1);
                bytes.splice(to..to, part);
            }
            4 => {
                let token = TOKENS[numbers.below(TOKENS.len())];
                bytes.splice(at..end.min(at + token.len()), token.iter().copied());
            }
            _ => {
                let token = TOKENS[numbers.below(TOKENS.len())];
                let many = token.repeat(1 + numbers.below(2_000));
                bytes.splice(at..at, many);
            }
        }
    }
    bytes
}

/// Small to send and large to read.
pub fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    let nested = |open: &str, close: &str| {
        let depth = 200_000;
        [open.repeat(depth), close.repeat(depth)]
            .concat()
            .into_bytes()
    };
    let wide = |item: &str| format!("[{}]", vec![item; 200_000].join(",")).into_bytes();
    vec![
        ("nothing", Vec::new()),
        ("arrays", nested("[", "]")),
        ("objects", nested("{\"a\":", "}")),
        ("arrays that do not end", b"[".repeat(1 << 20)),
        ("many nulls", wide("null")),
        ("many objects", wide("{}")),
        (
            "one name again and again",
            format!("{{{}}}", vec!["\"subject\":[]"; 100_000].join(",")).into_bytes(),
        ),
        (
            "a long string",
            format!("\"{}\"", "x".repeat(4 << 20)).into_bytes(),
        ),
        ("a long number", "9".repeat(1 << 20).into_bytes()),
        (
            "a number of a long power",
            b"1e99999999999999999999".to_vec(),
        ),
        ("empty lines", b"\n".repeat(1 << 20)),
        (
            "signature lines",
            "\u{2014} a AAAA\n".repeat(1 << 16).into_bytes(),
        ),
        ("zeros", vec![0; 1 << 20]),
        ("ones", vec![0xff; 1 << 20]),
    ]
}
