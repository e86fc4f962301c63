//! What the files of two packages say differently, file by file.

use super::causes::{CAUSES, Detector, cause, cause_in_file};
use super::diff::{self, Piece};
use super::payload::{self, Contents, PayloadError};
use super::{Context, Side, archive, content};
use repo_model::verdict::Cause;
use std::collections::{BTreeSet, HashMap};

/// Differing files that are looked into; the rest is only counted.
const MAX_FILES: usize = 40;
/// Of each of them, the first bytes.
const MAX_FILE_BYTES: u64 = 8 << 20;
/// Paths named in one cause.
const MAX_NAMED: usize = 5;
/// Links of debug data that are named after build-ids.
const BUILD_ID_DIR: &str = "/usr/lib/.build-id";

/// The two versions of one file.
pub struct Pair<'a> {
    /// Content in the expected package.
    pub expected: &'a [u8],
    /// Content in the rebuilt package.
    pub rebuilt: &'a [u8],
    /// Where they differ; build-ids of ELF files do not count.
    pub pieces: &'a [Piece],
    /// What is known of the two builds.
    pub context: &'a Context,
}

/// Whether all files have equal contents, modes and links.
pub fn same_files(expected: &Contents, rebuilt: &Contents) -> bool {
    let key = |contents: &Contents| -> BTreeSet<_> {
        contents
            .entries
            .iter()
            .map(|(entry, digest)| (entry.path.clone(), entry.mode, *digest))
            .collect()
    };
    key(expected) == key(rebuilt)
}

/// Causes that the file list and the contents show.
///
/// Errors are of reading a payload again; the caller has read both before.
pub fn causes(
    expected: (&Side, &Contents),
    rebuilt: (&Side, &Contents),
    context: &Context,
) -> Result<Vec<Cause>, PayloadError> {
    let (before, after) = (expected.1.by_path(), rebuilt.1.by_path());
    let mut causes = list_causes(&before, &after);
    let mut differing: Vec<&str> = Vec::new();
    let mut links: BTreeSet<&str> = BTreeSet::new();
    for (entry, digest) in &expected.1.entries {
        let Some((other, other_digest)) = after.get(entry.path.as_str()) else {
            continue;
        };
        if entry.mode != other.mode {
            let detail = format!("built {:o}, rebuilt {:o}", entry.mode, other.mode);
            causes.push(cause_in_file("file-mode", &entry.path, detail));
        }
        if digest != other_digest {
            differing.push(&entry.path);
            if [entry.mode, other.mode].map(is_symlink) == [true, true] {
                links.insert(&entry.path);
            }
        }
    }
    let looked_at = &differing[..differing.len().min(MAX_FILES)];
    let mut contents_a = read_files(expected.0, looked_at)?;
    let mut contents_b = read_files(rebuilt.0, looked_at)?;
    for path in looked_at {
        let (a, b) = (
            contents_a.remove(*path).unwrap_or_default(),
            contents_b.remove(*path).unwrap_or_default(),
        );
        causes.push(if links.contains(path) {
            let detail = format!("built {}, rebuilt {}", diff::quoted(&a), diff::quoted(&b));
            cause_in_file("file-links", path, detail)
        } else {
            explain(path, &a, &b, context)
        });
    }
    if differing.len() > looked_at.len() {
        let detail = format!(
            "{} more files differ and were not looked into",
            differing.len() - looked_at.len()
        );
        causes.push(cause("unknown-content", detail));
    }
    Ok(causes)
}

fn is_symlink(mode: u32) -> bool {
    u64::from(mode) & payload::FILE_TYPE == payload::SYMLINK
}

fn read_files(side: &Side, wanted: &[&str]) -> Result<HashMap<String, Vec<u8>>, PayloadError> {
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let reader = side
        .payload()
        .map_err(|source| PayloadError::Read { at: 0, source })?;
    payload::extract(reader, &side.package.files, wanted, MAX_FILE_BYTES)
}

type ByPath<'a> = HashMap<&'a str, &'a (payload::Entry, repo_model::FileDigest)>;

/// Paths that only one side has.
fn list_causes(before: &ByPath<'_>, after: &ByPath<'_>) -> Vec<Cause> {
    let only = |these: &ByPath<'_>, those: &ByPath<'_>| -> BTreeSet<String> {
        these
            .keys()
            .filter(|path| !those.contains_key(**path))
            .map(|path| (*path).to_owned())
            .collect()
    };
    let (missing, extra) = (only(before, after), only(after, before));
    let (ids, others): (Vec<&String>, Vec<&String>) = missing
        .iter()
        .chain(&extra)
        .partition(|path| path.starts_with(BUILD_ID_DIR));
    let mut causes = Vec::new();
    if !others.is_empty() {
        let name = |set: &BTreeSet<String>| -> String {
            let names: Vec<&str> = set
                .iter()
                .filter(|path| others.contains(path))
                .take(MAX_NAMED)
                .map(String::as_str)
                .collect();
            if names.is_empty() {
                "nothing".to_owned()
            } else {
                names.join(" ")
            }
        };
        let detail = format!(
            "only built: {}; only rebuilt: {}",
            name(&missing),
            name(&extra)
        );
        causes.push(cause_in_file("file-list", others[0], detail));
    }
    if let Some(first) = ids.first() {
        let detail = format!("{} links are named after build-ids that differ", ids.len());
        causes.push(cause_in_file("build-id", first, detail));
    }
    causes
}

/// The first row of the table that explains one file.
pub fn explain(path: &str, expected: &[u8], rebuilt: &[u8], context: &Context) -> Cause {
    let (code, detail) = explain_bytes(expected, rebuilt, context, true);
    cause_in_file(code, path, detail)
}

fn explain_bytes(
    expected: &[u8],
    rebuilt: &[u8],
    context: &Context,
    look_inside: bool,
) -> (&'static str, String) {
    let masked = content::without_build_id(expected).zip(content::without_build_id(rebuilt));
    let pieces = match &masked {
        Some((a, b)) => diff::pieces(a, b),
        None => diff::pieces(expected, rebuilt),
    };
    let pair = Pair {
        expected,
        rebuilt,
        pieces: &pieces,
        context,
    };
    let inside = archive::unpacked(expected)
        .zip(archive::unpacked(rebuilt))
        .filter(|_| look_inside);
    for row in CAUSES {
        let Detector::Content(detect) = row.detector else {
            continue;
        };
        // What is compressed shows its differences only unpacked.
        if let Some((a, b)) = &inside
            && a != b
        {
            let (code, detail) = explain_bytes(a, b, context, false);
            return (code, format!("unpacked: {detail}"));
        }
        if let Some(detail) = detect(&pair) {
            return (row.code, detail);
        }
    }
    ("unknown-content", "contents differ".to_owned())
}
