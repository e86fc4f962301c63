//! Putting OpenPGP signatures into an RPM's signature header and taking them out again, exactly.
//!
//! No cryptography here: signatures come and go as packets. What matters is that both ways are
//! exact, so that anybody can compare a signed package with a rebuild: for every file that
//! [`with_openpgp`] accepts, [`stripped`] of the result is the unsigned signature header, byte for
//! byte. (`rpmsign --delsign` does not restore it before rpm 6.)
//!
//! A signature header as rpm 4.18 writes it, unsigned: tags 62 (region), 269 SHA1, 273 SHA256,
//! 1000 size, 1004 MD5, 1007 payload size, 1008 reserved space (4128 zeros). A signature takes its
//! room from the reserved space, so that the file keeps its size and the payload its place.
//! Sources: rpm `lib/signature.cc`, `sign/rpmgensig.cc`, `lib/header.cc`.

use super::error::{HeaderError, Section};
use super::header::{ENTRY_BYTES, Header, MAGIC, TYPE_BIN, TYPE_STRING_ARRAY, alignment};
use super::{Head, tag};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// The tag that rpm 4 looks for a header signature in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LegacySlot {
    /// RSAHEADER, 268.
    Rsa,
    /// DSAHEADER, 267: DSA, EdDSA and ECDSA.
    Dsa,
}

impl LegacySlot {
    /// The tag's number.
    pub const fn tag(self) -> u32 {
        match self {
            Self::Rsa => tag::SIG_RSAHEADER,
            Self::Dsa => tag::SIG_DSAHEADER,
        }
    }
}

/// One signature over the main header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPgpSignature {
    /// A binary OpenPGP signature packet, not armoured.
    pub packet: Vec<u8>,
    /// Where rpm 4 finds it; `None` for what rpm 4 cannot read (OpenPGP v6, PQC): a signature that
    /// it knows the tag but not the algorithm of makes it refuse the whole package.
    pub legacy: Option<LegacySlot>,
}

/// A signature cannot be put in. The package's or the caller's fault: retrying fails again.
#[derive(Debug, thiserror::Error)]
pub enum SpliceError {
    /// An empty packet.
    #[error("signature {number} is empty")]
    EmptySignature {
        /// Position in the list, from 0.
        number: usize,
    },
    /// Two signatures for one tag.
    #[error("two signatures want tag {tag}, which holds one")]
    SlotTaken {
        /// 267 or 268.
        tag: u32,
    },
    /// The header is not laid out as rpm does it, or its reserved space has a size from which the
    /// original could not be told again; so taking the signature out could not restore the file.
    #[error(
        "signing could not be undone: the signature header is not laid out as rpm does it, or its \
         {reserved_bytes} reserved bytes are unusual (build with %__gpg_reserved_space 4096 or more)"
    )]
    NotRestorable {
        /// Of the unsigned header; 0 without a reservation.
        reserved_bytes: usize,
    },
    /// The result would pass the 4 GiB that a header can say, or our limits.
    #[error("the signed header could not be read back")]
    Unreadable(#[source] HeaderError),
}

/// A signature found in a signature header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundSignature {
    /// Where: 267, 268, 278 (over the main header), 1002, 1005, 1006 (over header and payload).
    pub tag: u32,
    /// The OpenPGP packet.
    pub packet: Vec<u8>,
}

/// Tags that hold an OpenPGP signature over the main header.
static HEADER_ONLY: [u32; 3] = [tag::SIG_DSAHEADER, tag::SIG_RSAHEADER, tag::SIG_OPENPGP];
/// Tags that hold one over main header and payload, as rpm 3 made them.
static WITH_PAYLOAD: [u32; 3] = [tag::SIG_PGP, tag::SIG_GPG, tag::SIG_PGP5];

fn is_signature(tag: u32) -> bool {
    HEADER_ONLY.contains(&tag) || WITH_PAYLOAD.contains(&tag)
}

/// All signatures in a signature header, by tag. Entries of tag 278 that are no base64 are left
/// out; lint reports them.
pub fn found_signatures(head: &Head) -> Vec<FoundSignature> {
    let header = head.signature();
    let mut found = Vec::new();
    for tag in HEADER_ONLY.into_iter().chain(WITH_PAYLOAD) {
        if let Some(packet) = header.bin(tag) {
            found.push(FoundSignature {
                tag,
                packet: packet.to_vec(),
            });
        }
        let texts = header
            .strings(tag)
            .into_iter()
            .filter(|_| tag == tag::SIG_OPENPGP);
        found.extend(
            texts
                .filter_map(decoded)
                .map(|packet| FoundSignature { tag, packet }),
        );
    }
    found
}

/// Signatures over the main header, each once: rpm 6 keeps a signature in tag 278 and, for rpm 4,
/// in 267 or 268 as well.
pub fn openpgp_signatures(head: &Head) -> Vec<Vec<u8>> {
    let mut packets: Vec<Vec<u8>> = Vec::new();
    for found in found_signatures(head) {
        if HEADER_ONLY.contains(&found.tag) && !packets.contains(&found.packet) {
            packets.push(found.packet);
        }
    }
    packets
}

/// The packet in one string of tag 278.
pub(super) fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let text: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    BASE64.decode(text).ok().filter(|packet| !packet.is_empty())
}

/// The signature header of `head` with exactly these signatures, padded to 8 bytes; signatures
/// that were there before are gone, every other tag stays.
///
/// Each goes into tag 278 in the order given, and into its legacy tag if it has one. When the
/// reserved space is large enough the result is as long as the unsigned header; otherwise it
/// grows and the reserved space stays as it was, as rpmsign does it.
pub fn with_openpgp(head: &Head, signatures: &[OpenPgpSignature]) -> Result<Vec<u8>, SpliceError> {
    let unsigned_bytes = stripped(head);
    let unsigned = reread(unsigned_bytes.clone())?;
    let plain = Layout::of(&unsigned);
    let reserved_bytes = plain.reserved().map_or(0, |item| item.data.len());
    if plain.padded() != unsigned_bytes {
        return Err(SpliceError::NotRestorable { reserved_bytes });
    }
    if signatures.is_empty() {
        return Ok(unsigned_bytes);
    }
    let mut grown = plain;
    for item in items(signatures)? {
        grown.insert(item);
    }
    let fitted = grown.fitted_to(unsigned.unpadded_bytes());
    for candidate in fitted.into_iter().chain([grown]) {
        let bytes = candidate.padded();
        if stripped_header(&reread(bytes.clone())?) == unsigned_bytes {
            return Ok(bytes);
        }
    }
    Err(SpliceError::NotRestorable { reserved_bytes })
}

/// The signature header as the unsigned file had it, padded to 8 bytes: without OpenPGP signatures,
/// their room given back to the reserved space. Unsigned headers come back as they are.
pub fn stripped(head: &Head) -> Vec<u8> {
    stripped_header(head.signature())
}

fn stripped_header(header: &Header) -> Vec<u8> {
    let mut layout = Layout::of(header);
    let before = layout.items.len();
    layout.items.retain(|item| !is_signature(item.tag));
    if layout.items.len() == before {
        return header.bytes().to_vec();
    }
    let Some(reserved) = layout.reserved().map(|item| item.data.len()) else {
        return layout.padded();
    };
    let signature_bytes = header.unpadded_bytes().saturating_sub(layout.bytes().len());
    let Some(refilled) = layout.fitted_to(header.unpadded_bytes()) else {
        return layout.padded();
    };
    let refilled_bytes = refilled.reserved().map_or(0, |item| item.data.len());
    // Did the signature take its room from the reserved space, or did it not fit and the header
    // grew? What fits leaves at least a byte, so it grew only if less is reserved than the
    // signature takes; and then what is reserved now is what the packager asked for.
    let grew = signature_bytes >= reserved && likelihood(reserved) > likelihood(refilled_bytes);
    if grew {
        layout.padded()
    } else {
        refilled.padded()
    }
}

/// How likely a package is built with so much reserved space: rpm reserves 32 bytes and what
/// `%__gpg_reserved_space` says, 4096 unless the packager knows better (rpm `lib/signature.cc`,
/// `rpmGenerateSignature`).
fn likelihood(reserved_bytes: usize) -> u8 {
    match reserved_bytes.checked_sub(32) {
        Some(4096) => 2,
        Some(asked) if asked.is_multiple_of(1024) => 1,
        _ => 0,
    }
}

fn items(signatures: &[OpenPgpSignature]) -> Result<Vec<Item>, SpliceError> {
    let mut items: Vec<Item> = Vec::new();
    let mut texts = Vec::new();
    for (number, signature) in signatures.iter().enumerate() {
        if signature.packet.is_empty() {
            return Err(SpliceError::EmptySignature { number });
        }
        if let Some(tag) = signature.legacy.map(LegacySlot::tag) {
            if items.iter().any(|item| item.tag == tag) {
                return Err(SpliceError::SlotTaken { tag });
            }
            items.push(Item::bin(tag, signature.packet.clone()));
        }
        texts.extend(BASE64.encode(&signature.packet).into_bytes());
        texts.push(0);
    }
    let (tag, kind, count) = (tag::SIG_OPENPGP, TYPE_STRING_ARRAY, signatures.len() as u32);
    items.push(Item {
        tag,
        kind,
        count,
        data: texts,
    });
    Ok(items)
}

fn reread(bytes: Vec<u8>) -> Result<Header, SpliceError> {
    Header::check(Section::Signature, 96, bytes).map_err(SpliceError::Unreadable)
}

/// One tag with its data as stored.
#[derive(Debug, Clone)]
struct Item {
    tag: u32,
    kind: u32,
    count: u32,
    data: Vec<u8>,
}

impl Item {
    fn bin(tag: u32, data: Vec<u8>) -> Self {
        Self {
            tag,
            kind: TYPE_BIN,
            count: data.len() as u32,
            data,
        }
    }
}

/// A signature header as a list of tags, its region aside.
#[derive(Debug, Clone)]
struct Layout {
    has_region: bool,
    /// In the index's order, which the data follow.
    items: Vec<Item>,
}

impl Layout {
    fn of(header: &Header) -> Self {
        let is_region = |tag: u32| tag < tag::HEADERI18NTABLE;
        let entries = header
            .entries()
            .iter()
            .filter(|entry| !is_region(entry.tag));
        let item = |entry: &super::header::Entry| Item {
            tag: entry.tag,
            kind: entry.kind,
            count: entry.count,
            data: header.data(entry).to_vec(),
        };
        Self {
            has_region: header.region().is_some(),
            items: entries.map(item).collect(),
        }
    }

    /// rpm sorts the index by tag.
    fn insert(&mut self, item: Item) {
        let place = self.items.iter().position(|other| other.tag > item.tag);
        self.items.insert(place.unwrap_or(self.items.len()), item);
    }

    fn reserved(&self) -> Option<&Item> {
        self.items.iter().find(|item| is_reserve(item))
    }

    fn with_reserved(&self, bytes: usize) -> Self {
        let mut layout = self.clone();
        if let Some(item) = layout.items.iter_mut().find(|item| is_reserve(item)) {
            item.count = bytes as u32;
            item.data = vec![0; bytes];
        }
        layout
    }

    /// The same with reserved space such that the whole takes `total` bytes without padding;
    /// `None` when there is no reserved space or not a byte of it would remain.
    fn fitted_to(&self, total: usize) -> Option<Self> {
        let reserved = self.reserved()?.data.len();
        let wanted = (reserved + total)
            .checked_sub(self.bytes().len())
            .filter(|left| *left > 0)?;
        let fitted = self.with_reserved(wanted);
        // rpm puts the reserved space last, so nothing behind it shifts alignment.
        (fitted.bytes().len() == total).then_some(fitted)
    }

    fn padded(&self) -> Vec<u8> {
        let mut bytes = self.bytes();
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    fn bytes(&self) -> Vec<u8> {
        let region = usize::from(self.has_region);
        let count = self.items.len() + region;
        let mut index = Vec::with_capacity(count * ENTRY_BYTES);
        let mut store: Vec<u8> = Vec::new();
        for item in &self.items {
            store.resize(
                store.len().next_multiple_of(alignment(item.kind) as usize),
                0,
            );
            index.extend(entry_bytes(
                item.tag,
                item.kind,
                store.len() as u32,
                item.count,
            ));
            store.extend(&item.data);
        }
        if self.has_region {
            let (tag, bytes) = (tag::SIG_HEADERSIGNATURES, ENTRY_BYTES as u32);
            let seal = entry_bytes(tag, TYPE_BIN, store.len() as u32, bytes);
            index.splice(0..0, seal);
            let back = (count as u32 * bytes).wrapping_neg();
            store.extend(entry_bytes(tag, TYPE_BIN, back, bytes));
        }
        let lengths = [count as u32, store.len() as u32]
            .map(u32::to_be_bytes)
            .concat();
        [&MAGIC[..], &lengths, &index, &store].concat()
    }
}

fn is_reserve(item: &Item) -> bool {
    matches!(item.tag, tag::SIG_RESERVEDSPACE | tag::SIG_RESERVED) && item.kind == TYPE_BIN
}

fn entry_bytes(tag: u32, kind: u32, start: u32, count: u32) -> Vec<u8> {
    [tag, kind, start, count].map(u32::to_be_bytes).concat()
}
