//! Texts, paths and dependencies: what reaches the repository's XML and the clients' disks.

use super::{
    BAD_DEPENDENCY_EPOCH, BAD_PATH, CONTROL_CHARACTER, DUPLICATE_PATH, EMPTY_DEPENDENCY,
    NO_CHANGELOG, NO_LICENSE, NO_SUMMARY, NOT_UTF8, OLD_BUILD_TIME, Report,
};
use crate::rpm::fields::{ALL_DEPENDENCIES, Typed, dependencies};
use crate::rpm::vercmp::parse_evr;
use crate::rpm::{Head, Package, TagIn, tag};
use std::collections::BTreeSet;

/// Longest path that Linux takes (PATH_MAX with its NUL).
const PATH_LIMIT_BYTES: usize = 4095;
/// 1990-01-01T00:00:00Z, before there was any RPM.
const YEAR_1990: i64 = 631_152_000;

/// Texts of primary, filelists and other; the dependencies' come from their own table.
static TEXT_TAGS: &[u32] = &[
    tag::NAME,
    tag::VERSION,
    tag::RELEASE,
    tag::SUMMARY,
    tag::DESCRIPTION,
    tag::BUILDHOST,
    tag::DISTRIBUTION,
    tag::VENDOR,
    tag::LICENSE,
    tag::PACKAGER,
    tag::GROUP,
    tag::URL,
    tag::ARCH,
    tag::OLDFILENAMES,
    tag::FILELINKTOS,
    tag::SOURCERPM,
    tag::CHANGELOGNAME,
    tag::CHANGELOGTEXT,
    tag::BASENAMES,
    tag::DIRNAMES,
    tag::BUGURL,
    tag::VCS,
    tag::MODULARITYLABEL,
];

/// Every text can be written as XML 1.0.
pub(super) fn check_texts(head: &Head, _: &Package, report: &mut Report<'_>) {
    let of_dependencies = ALL_DEPENDENCIES
        .iter()
        .flat_map(|[name, _, version]| [*name, *version]);
    for number in TEXT_TAGS.iter().copied().chain(of_dependencies) {
        let main = head.main();
        let texts = main.strings(number);
        let Some(start) = main.offset_of(number).filter(|_| !texts.is_empty()) else {
            continue;
        };
        let tag = TagIn::main(number);
        let mut place = start;
        for (value, bytes) in texts.into_iter().enumerate() {
            if let Some((at, what)) = unwritable(bytes) {
                let offset = place + at as u64;
                let message = format!(
                    "{tag}, value {value}, holds {what} at offset {offset}; XML cannot carry it, \
                     remove it from the spec file or the file's name"
                );
                report.push(CONTROL_CHARACTER, Some(number), Some(offset), message);
            }
            if let Err(error) = std::str::from_utf8(bytes) {
                let offset = place + error.valid_up_to() as u64;
                let message = format!(
                    "{tag}, value {value}, is not UTF-8 at offset {offset}; read as Latin-1"
                );
                report.push(NOT_UTF8, Some(number), Some(offset), message);
            }
            place += bytes.len() as u64 + 1;
        }
    }
}

/// The first thing in a text that XML 1.0 forbids, and its place.
fn unwritable(bytes: &[u8]) -> Option<(usize, String)> {
    let is_control = |byte: &u8| *byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r');
    if let Some(at) = bytes.iter().position(is_control) {
        return Some((at, format!("the control character {:#04x}", bytes[at])));
    }
    // Only as UTF-8: read as Latin-1 the same bytes are harmless letters.
    let text = std::str::from_utf8(bytes).ok()?;
    let (at, character) = text
        .char_indices()
        .find(|(_, c)| matches!(c, '\u{fffe}' | '\u{ffff}'))?;
    Some((
        at,
        format!("the non-character U+{:04X}", u32::from(character)),
    ))
}

/// Paths that mean what they say.
pub(super) fn check_paths(head: &Head, package: &Package, report: &mut Report<'_>) {
    let has_dirs = head.main().has(tag::BASENAMES);
    let tag = TagIn::main(if has_dirs {
        tag::BASENAMES
    } else {
        tag::OLDFILENAMES
    });
    let mut seen = BTreeSet::new();
    for file in &package.files {
        let problem = if package.is_source {
            source_path_problem(&file.path)
        } else if has_dirs && !file.dir.ends_with('/') {
            Some("its directory does not end with /")
        } else if has_dirs && file.base.contains('/') {
            Some("its base name has a /")
        } else {
            path_problem(&file.path)
        };
        if let Some(problem) = problem {
            report.tag(
                BAD_PATH,
                tag,
                format!("{tag}: path `{:.300}`: {problem}", file.path),
            );
        }
        if !seen.insert(file.path.as_str()) {
            report.tag(
                DUPLICATE_PATH,
                tag,
                format!("{tag}: `{:.300}` is listed twice", file.path),
            );
        }
    }
}

fn path_problem(path: &str) -> Option<&'static str> {
    if path.len() > PATH_LIMIT_BYTES {
        return Some("longer than 4095 bytes");
    }
    let Some(rest) = path.strip_prefix('/') else {
        return Some("does not start with /");
    };
    if rest.is_empty() {
        return None;
    }
    // A directory may be listed with its slash.
    let mut parts = rest.strip_suffix('/').unwrap_or(rest).split('/');
    parts.find_map(|part| match part {
        "" => Some("has an empty part"),
        "." | ".." => Some("has a . or .. part"),
        _ => None,
    })
}

fn source_path_problem(path: &str) -> Option<&'static str> {
    match path {
        "" | "." | ".." => Some("is no file name"),
        _ if path.contains('/') => Some("has a /, but a source package holds plain file names"),
        _ if path.len() > 255 => Some("longer than 255 bytes"),
        _ => None,
    }
}

/// Dependencies that a client can compare.
pub(super) fn check_dependencies(head: &Head, _: &Package, report: &mut Report<'_>) {
    let main = Typed(head.main());
    for tags in ALL_DEPENDENCIES {
        let [name_tag, _, version_tag] = tags;
        // `Package` was read from the same header, so this reads too.
        for dependency in dependencies(&main, tags).unwrap_or_default() {
            if dependency.name.is_empty() {
                let tag = TagIn::main(name_tag);
                report.tag(
                    EMPTY_DEPENDENCY,
                    tag,
                    format!("{tag} has an entry without a name"),
                );
            }
            let Some((_, version)) = &dependency.version else {
                continue;
            };
            if parse_evr(version).epoch_number().is_none() {
                let tag = TagIn::main(version_tag);
                let message = format!(
                    "{tag}: `{:.200}` wants version `{version:.200}`, whose epoch is not a number; \
                     correct the spec file",
                    dependency.name
                );
                report.tag(BAD_DEPENDENCY_EPOCH, tag, message);
            }
        }
    }
}

/// What a good package has, and an old one may lack.
pub(super) fn check_courtesies(_: &Head, package: &Package, report: &mut Report<'_>) {
    let mut missing = |code, number, is_missing: bool| {
        if is_missing {
            let tag = TagIn::main(number);
            report.tag(code, tag, format!("{tag} is missing or empty"));
        }
    };
    missing(NO_LICENSE, tag::LICENSE, package.license.trim().is_empty());
    missing(NO_SUMMARY, tag::SUMMARY, package.summary.trim().is_empty());
    missing(
        NO_CHANGELOG,
        tag::CHANGELOGTIME,
        package.changelog.is_empty(),
    );
    if package.build_time.unix_secs() < YEAR_1990 {
        let tag = TagIn::main(tag::BUILDTIME);
        let message = format!("{tag} is {}; some clients sort by it", package.build_time);
        report.tag(OLD_BUILD_TIME, tag, message);
    }
}
