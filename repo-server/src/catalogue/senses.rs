//! Versions of dependencies: what is kept of them, and which provision satisfies which need.

use repo_model::rpm::vercmp::{parse_evr, vercmp};
use repo_model::rpm::{Dependency, DependencyFlags};
use std::cmp::Ordering;

const LESS: u32 = 2;
const GREATER: u32 = 4;
const EQUAL: u32 = 8;

/// The comparison as rpm's bits, and the version; 0 and nothing without a version.
pub fn kept(dependency: &Dependency) -> (u32, &str) {
    match &dependency.version {
        None => (0, ""),
        Some((flags, version)) => (bits(*flags), version),
    }
}

fn bits(flags: DependencyFlags) -> u32 {
    match flags {
        DependencyFlags::Lt => LESS,
        DependencyFlags::Gt => GREATER,
        DependencyFlags::Eq => EQUAL,
        DependencyFlags::Le => LESS | EQUAL,
        DependencyFlags::Ge => GREATER | EQUAL,
    }
}

/// `libx >= 1.2`, as people write it.
pub fn shown(name: &str, sense: u32, version: &str) -> String {
    let mut sign = String::new();
    for (bit, c) in [(LESS, '<'), (GREATER, '>'), (EQUAL, '=')] {
        if sense & bit != 0 {
            sign.push(c);
        }
    }
    match sign.is_empty() {
        true => name.to_owned(),
        false => format!("{name} {sign} {version}"),
    }
}

/// Whether what is provided satisfies what is needed, both of one name: the two ranges have a version in
/// common. As DNF sees it, a provision without a version satisfies no need that has one.
pub fn satisfies(provided: (u32, &str), needed: (u32, &str)) -> bool {
    if needed.0 == 0 {
        return true;
    }
    if provided.0 == 0 {
        return false;
    }
    match compare(provided.1, needed.1) {
        Ordering::Less => provided.0 & GREATER != 0 || needed.0 & LESS != 0,
        Ordering::Greater => provided.0 & LESS != 0 || needed.0 & GREATER != 0,
        Ordering::Equal => provided.0 & needed.0 != 0,
    }
}

/// A release that one side leaves out does not count.
fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (parse_evr(a), parse_evr(b));
    let release = || match (a.release, b.release) {
        (Some(a), Some(b)) => vercmp(a, b),
        _ => Ordering::Equal,
    };
    a.epoch_number()
        .cmp(&b.epoch_number())
        .then_with(|| vercmp(a.version, b.version))
        .then_with(release)
}

/// The capabilities that a dependency names: itself, or the parts of a rich one.
pub fn capabilities(name: &str) -> Vec<&str> {
    if !name.starts_with('(') {
        return vec![name];
    }
    const WORDS: [&str; 7] = ["and", "or", "if", "unless", "else", "with", "without"];
    const SIGNS: [&str; 5] = ["<", ">", "=", "<=", ">="];
    let mut found = Vec::new();
    let mut words = name.split_whitespace();
    while let Some(word) = words.next() {
        if SIGNS.contains(&word) {
            // What follows is a version.
            words.next();
            continue;
        }
        let mut part = word.trim_start_matches('(');
        // A capability's own parentheses stay: libx.so.1()(64bit).
        while part.ends_with(')') && part.matches(')').count() > part.matches('(').count() {
            part = &part[..part.len() - 1];
        }
        if !part.is_empty() && !WORDS.contains(&part) && !found.contains(&part) {
            found.push(part);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_share_a_version_satisfy_each_other() {
        for (provided, needed, want) in [
            ((EQUAL, "1.2-3"), (0, ""), true),
            ((0, ""), (EQUAL, "1.2"), false),
            ((EQUAL, "1.2-3"), (EQUAL, "1.2"), true),
            ((EQUAL, "1.2-3"), (EQUAL, "1.2-4"), false),
            ((EQUAL, "1.2-3"), (GREATER | EQUAL, "1.10"), false),
            ((EQUAL, "1:1.2-3"), (GREATER | EQUAL, "1.10"), true),
            ((EQUAL, "2.0-1"), (LESS, "2.0"), false),
            ((EQUAL, "2.0~rc1-1"), (LESS, "2.0"), true),
            ((GREATER | EQUAL, "1"), (LESS, "9"), true),
        ] {
            assert_eq!(satisfies(provided, needed), want, "{provided:?} {needed:?}");
        }
    }

    #[test]
    fn a_rich_dependency_names_its_parts() {
        for (text, want) in [
            ("libx.so.1()(64bit)", &["libx.so.1()(64bit)"][..]),
            ("(a or b)", &["a", "b"]),
            (
                "(python3dist(x) >= 1.2 with python3dist(x) < 2)",
                &["python3dist(x)"],
            ),
            (
                "((a if b else c) and libx.so.1()(64bit))",
                &["a", "b", "c", "libx.so.1()(64bit)"],
            ),
            ("(", &[]),
            ("())", &[]),
        ] {
            assert_eq!(capabilities(text), want, "{text}");
        }
    }
}
