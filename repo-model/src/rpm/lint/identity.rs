//! Names that become file names, URLs, shell words and sort keys.

use super::{BAD_ARCH, BAD_NAME, BAD_SOURCE_RPM, BAD_VERSION, Code, Report};
use crate::rpm::{Head, Package, TagIn, tag};

/// Longest file name that common file systems take.
const FILE_NAME_LIMIT_BYTES: usize = 255;

/// Name, version, release and arch as rpmbuild would accept them (rpm `build/parsePreamble.cc`,
/// without the characters that it takes for macros).
pub(super) fn check_nevra(head: &Head, package: &Package, report: &mut Report<'_>) {
    let nevra = &package.nevra;
    check_part(report, BAD_NAME, tag::NAME, &nevra.name, "-._+");
    check_part(
        report,
        BAD_VERSION,
        tag::VERSION,
        &nevra.evr.version,
        "._+~^",
    );
    check_part(
        report,
        BAD_VERSION,
        tag::RELEASE,
        &nevra.evr.release,
        "._+~^",
    );
    // ARCH itself, which in a source package is that of the build host.
    let arch = head
        .main()
        .string(tag::ARCH)
        .map(String::from_utf8_lossy)
        .unwrap_or_default();
    check_part(report, BAD_ARCH, tag::ARCH, &arch, "_");
    let file_name = nevra.file_name();
    if file_name.len() > FILE_NAME_LIMIT_BYTES {
        let message = format!(
            "the file name would have {} bytes, the limit is {FILE_NAME_LIMIT_BYTES}",
            file_name.len()
        );
        report.tag(BAD_NAME, TagIn::main(tag::NAME), message);
    }
}

fn check_part(report: &mut Report<'_>, code: Code, number: u32, text: &str, extra: &str) {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || extra.contains(c);
    let tag = TagIn::main(number);
    let wrong = text.char_indices().find(|(_, c)| !is_allowed(*c));
    let message = match (wrong, text.chars().next()) {
        (Some((place, wrong)), _) => {
            format!("{tag} has {wrong:?} at byte {place}; allowed are letters, digits and {extra}")
        }
        // Neither an option nor a hidden file, and no `..`; `~` first would sort before nothing.
        (None, Some('-' | '.' | '+' | '~' | '^')) => {
            format!("{tag} is `{text}`, want a letter, a digit or _ first")
        }
        _ => return,
    };
    report.tag(code, tag, message);
}

/// SOURCERPM groups binary packages with their source.
pub(super) fn check_source_rpm(_: &Head, package: &Package, report: &mut Report<'_>) {
    if package.is_source {
        return;
    }
    let tag = TagIn::main(tag::SOURCERPM);
    let message = match &package.source_rpm {
        None => format!("{tag} is missing; rebuild from a source package with rpmbuild"),
        Some(name) if !is_source_file_name(name) => {
            format!("{tag} is `{name:.200}`, want name-version-release.src.rpm")
        }
        Some(_) => return,
    };
    report.tag(BAD_SOURCE_RPM, tag, message);
}

fn is_source_file_name(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-._+~^".contains(c);
    let stem = [".src.rpm", ".nosrc.rpm"]
        .iter()
        .find_map(|end| name.strip_suffix(end));
    name.len() <= FILE_NAME_LIMIT_BYTES
        && name.chars().all(is_allowed)
        && !name.starts_with(['-', '.'])
        && stem.is_some_and(|stem| stem.split('-').filter(|part| !part.is_empty()).count() >= 3)
}
