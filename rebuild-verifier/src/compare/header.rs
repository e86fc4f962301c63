//! What the two main headers say differently.

use super::causes::{CAUSES, Detector, cause_in_tag};
use super::diff::quoted;
use repo_model::rpm::{Header, Value, tag};
use repo_model::verdict::Cause;
use std::collections::BTreeSet;

/// Tags that only repeat what contents, file list or other tags say.
static CONSEQUENCES: &[u32] = &[
    tag::HEADERIMAGE,
    tag::HEADERIMMUTABLE,
    tag::HEADERI18NTABLE,
    tag::SIZE,
    tag::LONGSIZE,
    tag::ARCHIVESIZE,
    tag::FILESIZES,
    tag::LONGFILESIZES,
    tag::FILEDIGESTS,
    tag::FILECLASS,
    tag::CLASSDICT,
    tag::FILECOLORS,
    tag::FILEDEPENDSX,
    tag::FILEDEPENDSN,
    tag::DEPENDSDICT,
    tag::FILEMIMEINDEX,
    tag::MIMEDICT,
    tag::PAYLOADSHA256,
    tag::PAYLOADSHA256ALT,
    tag::PAYLOADSIZE,
    tag::PAYLOADSIZEALT,
    tag::PAYLOADSHA512,
    tag::PAYLOADSHA512ALT,
    tag::PAYLOADSHA3_256,
    tag::PAYLOADSHA3_256ALT,
];

/// Lists with one value for each file.
static PER_FILE: &[u32] = &[
    tag::BASENAMES,
    tag::DIRNAMES,
    tag::DIRINDEXES,
    tag::FILEMODES,
    tag::FILERDEVS,
    tag::FILEMTIMES,
    tag::FILELINKTOS,
    tag::FILEFLAGS,
    tag::FILEUSERNAME,
    tag::FILEGROUPNAME,
    tag::FILEVERIFYFLAGS,
    tag::FILEDEVICES,
    tag::FILEINODES,
    tag::FILELANGS,
    tag::FILECAPS,
];

/// The three parallel lists of requirements.
static REQUIREMENTS: &[u32] = &[tag::REQUIRENAME, tag::REQUIREVERSION, tag::REQUIREFLAGS];
/// RPMSENSE_INTERP: the interpreter of a scriptlet.
const INTERPRETER: u64 = 1 << 8;

/// Requirements that do not follow from something else in the package: not what rpm itself must be
/// able to do (`rpmlib(…)`, from payload and files), and not interpreters of scriptlets.
fn own_needs(header: &Header) -> Vec<(&[u8], &[u8], u64)> {
    let names = header.strings(tag::REQUIRENAME);
    let versions = header.strings(tag::REQUIREVERSION);
    let flags = header.u64s(tag::REQUIREFLAGS);
    names
        .into_iter()
        .zip(versions)
        .zip(flags)
        .map(|((name, version), flags)| (name, version, flags))
        .filter(|(name, _, flags)| !name.starts_with(b"rpmlib(") && flags & INTERPRETER == 0)
        .collect()
}

/// Whether both packages list the same paths in the same order.
pub fn same_file_list(a: &Header, b: &Header) -> bool {
    [tag::BASENAMES, tag::DIRNAMES, tag::DIRINDEXES]
        .iter()
        .all(|tag| a.get(*tag) == b.get(*tag))
}

/// Causes that tags show, in the order of the table; tags outside it come last as `header-tag`.
///
/// When the file lists differ, lists with one value for each file say nothing and are passed over.
pub fn causes(a: &Header, b: &Header) -> Vec<Cause> {
    let same_list = same_file_list(a, b);
    let tags: BTreeSet<u32> = a.tags().chain(b.tags()).map(|(tag, _, _)| tag).collect();
    let mut differing: BTreeSet<u32> = tags
        .into_iter()
        .filter(|tag| !CONSEQUENCES.contains(tag) && (same_list || !PER_FILE.contains(tag)))
        .filter(|tag| a.get(*tag) != b.get(*tag))
        .collect();
    if differing.iter().any(|tag| !REQUIREMENTS.contains(tag)) && own_needs(a) == own_needs(b) {
        differing.retain(|tag| !REQUIREMENTS.contains(tag));
    }
    let mut causes = Vec::new();
    for row in CAUSES {
        let Detector::Tags(tags) = row.detector else {
            continue;
        };
        let shown: Vec<u32> = tags
            .iter()
            .copied()
            .filter(|tag| differing.remove(tag))
            .collect();
        if let Some(first) = shown.first() {
            causes.push(cause_in_tag(row.code, *first, detail(a, b, *first)));
        }
    }
    causes.extend(
        differing
            .into_iter()
            .map(|tag| cause_in_tag("header-tag", tag, detail(a, b, tag))),
    );
    causes
}

fn detail(a: &Header, b: &Header, tag: u32) -> String {
    match (a.get(tag), b.get(tag)) {
        (Some(Value::Ints(before)), Some(Value::Ints(after))) => ints(&before, &after),
        (Some(Value::Strings(before)), Some(Value::Strings(after))) => strings(&before, &after),
        (before, after) => format!("built {}, rebuilt {}", presence(before), presence(after)),
    }
}

fn presence(value: Option<Value<'_>>) -> String {
    match value {
        None => "without it".to_owned(),
        Some(Value::Bin(bytes)) => hex::encode(&bytes[..bytes.len().min(16)]),
        Some(Value::Strings(texts)) => quoted(texts.first().copied().unwrap_or_default()),
        Some(Value::Ints(numbers)) => numbers
            .first()
            .map_or_else(|| "nothing".to_owned(), u64::to_string),
        Some(Value::Null) => "nothing".to_owned(),
    }
}

fn ints(before: &[u64], after: &[u64]) -> String {
    let count = before.iter().zip(after).filter(|(a, b)| a != b).count();
    match before.iter().zip(after).find(|(a, b)| a != b) {
        Some((a, b)) if count > 1 => {
            format!("{count} values differ; the first: built {a}, rebuilt {b}")
        }
        Some((a, b)) => format!("built {a}, rebuilt {b}"),
        None => format!("{} values built, {} rebuilt", before.len(), after.len()),
    }
}

fn strings(before: &[&[u8]], after: &[&[u8]]) -> String {
    let sorted = |items: &[&[u8]]| {
        items
            .iter()
            .map(|item| item.to_vec())
            .collect::<BTreeSet<_>>()
    };
    let (old, new) = (sorted(before), sorted(after));
    if before.len() > 1 && before.len() == after.len() && old == new {
        return "the same entries in another order".to_owned();
    }
    let only = |these: &BTreeSet<Vec<u8>>, those: &BTreeSet<Vec<u8>>| -> String {
        let items: Vec<String> = these
            .difference(those)
            .take(3)
            .map(|item| quoted(item))
            .collect();
        if items.is_empty() {
            "nothing of its own".to_owned()
        } else {
            items.join(" ")
        }
    };
    format!("built {}, rebuilt {}", only(&old, &new), only(&new, &old))
}
