//! The spec file of a source package: where sources and patches come from.
//!
//! A header keeps the base name of each source; its URL stands in the spec alone
//! (`Source0: https://a.example/%{name}-%{version}.tar.gz`). Macros are expanded as far as they are
//! plain texts that the spec itself defines once; whatever else a line uses, it is passed over.

use super::{Findings, Look, Reader};
use crate::component::Technique;
use std::cell::Cell;
use std::collections::BTreeMap;

/// Longest value after expansion.
const VALUE_BYTES: usize = 4096;
/// Deepest nesting of macros.
const DEPTH: usize = 16;
/// Macros that one spec may use; a hostile one may nest them by the million.
const EXPANSIONS: u32 = 100_000;
/// Longest spec that is read, bytes.
const SPEC_BYTES: usize = 8 << 20;

pub(super) const SOURCES: Reader = Reader {
    name: "spec-sources",
    technique: Technique::ManifestAnalysis,
    confidence_percent: 80,
    wants: |path, _| path.ends_with(".spec"),
    read,
};

fn read(_: &Reader, look: &Look<'_>, findings: &mut Findings) -> Result<(), String> {
    if !look.package.is_source {
        return Ok(());
    }
    if look.content.len() > SPEC_BYTES {
        return Err(format!("longer than {SPEC_BYTES} bytes"));
    }
    let text = String::from_utf8_lossy(look.content);
    let evr = &look.package.nevra.evr;
    let mut macros = Macros::of(&text);
    for (name, value) in [
        ("name", &look.package.nevra.name),
        ("version", &evr.version),
        ("release", &evr.release),
    ] {
        macros.values.insert(name, Some(value));
    }
    let package = look.package;
    for url in text.lines().filter_map(|line| macros.source_of(line)) {
        if let Some(base) = base_name(&url)
            && (package.sources.iter().any(|name| name == base)
                || package.patches.iter().any(|name| name == base))
        {
            findings.source_urls.insert(base.to_owned(), url.clone());
        }
    }
    Ok(())
}

/// The name under which rpm stores what a URL names: after `#/`, or else the last part.
fn base_name(url: &str) -> Option<&str> {
    let name = url.rsplit('/').next()?;
    Some(name).filter(|name| !name.is_empty())
}

/// What the spec defines; `None` for what it defines twice and differently.
struct Macros<'a> {
    values: BTreeMap<&'a str, Option<&'a str>>,
    /// Expansions that are left.
    left: Cell<u32>,
}

impl<'a> Macros<'a> {
    fn of(text: &'a str) -> Self {
        let mut values = BTreeMap::new();
        for line in text.lines() {
            if let Some((name, value)) = definition(line) {
                let known = values.entry(name).or_insert(Some(value));
                if *known != Some(value) {
                    *known = None;
                }
            }
        }
        Self {
            values,
            left: Cell::new(EXPANSIONS),
        }
    }

    /// The URL of a `SourceN:` or `PatchN:` line.
    fn source_of(&self, line: &str) -> Option<String> {
        let (tag, value) = line.split_once(':')?;
        let tag = tag.trim().to_ascii_lowercase();
        let number = tag
            .strip_prefix("source")
            .or_else(|| tag.strip_prefix("patch"))?;
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let url = self.expand(value.trim(), DEPTH)?;
        let is_url = ["https://", "http://", "ftp://"]
            .iter()
            .any(|scheme| url.starts_with(scheme));
        let is_clean = url.bytes().all(|byte| byte.is_ascii_graphic());
        (is_url && is_clean).then_some(url)
    }

    /// The value with its macros replaced; `None` when one is not known or does more than hold a text.
    fn expand(&self, value: &str, depth: usize) -> Option<String> {
        self.left.set(self.left.get().checked_sub(1)?);
        let mut out = String::new();
        let mut rest = value;
        while let Some(at) = rest.find('%') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                out.push('%');
                rest = after;
                continue;
            }
            let (name, after) = match rest.strip_prefix('{') {
                Some(inner) => inner.split_once('}')?,
                None => {
                    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                    let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
                    rest.split_at(end)
                }
            };
            rest = after;
            let (name, is_optional) = match name.strip_prefix('?') {
                Some(name) => (name, true),
                None => (name, false),
            };
            match self.values.get(name) {
                Some(Some(value)) if depth > 0 => out.push_str(&self.expand(value, depth - 1)?),
                None if is_optional && !name.contains(':') => {}
                _ => return None,
            }
            if out.len() > VALUE_BYTES {
                return None;
            }
        }
        out.push_str(rest);
        (out.len() <= VALUE_BYTES).then_some(out)
    }
}

/// `%global name value`, `%define name value`, and the tags that are macros as well.
fn definition(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let defined = line
        .strip_prefix("%global ")
        .or_else(|| line.strip_prefix("%define "));
    let (name, value) = match defined {
        Some(rest) => rest.trim_start().split_once(char::is_whitespace)?,
        None => {
            let (tag, value) = line.split_once(':')?;
            match tag.trim() {
                "URL" | "Url" | "url" => ("url", value),
                _ => return None,
            }
        }
    };
    // A macro with parameters, or one that goes on in the next line, is no plain text.
    (!name.contains('(') && !value.ends_with('\\')).then_some((name, value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_sources_are_expanded_from_what_the_spec_defines() {
        let spec = "%global forge https://a.example\n%define tag v%{version}\n%global twice 1\n\
                    %global twice 2\n%define call() x\nURL: https://b.example/\n";
        let mut macros = Macros::of(spec);
        macros.values.insert("version", Some("1.2"));
        let table = [
            (
                "Source0: %{forge}/x-%{version}.tar.gz",
                Some("https://a.example/x-1.2.tar.gz"),
            ),
            (
                "source: %forge/%tag/x.tar#/y.tar",
                Some("https://a.example/v1.2/x.tar#/y.tar"),
            ),
            (
                "Patch12:%{url}a%%b%{?none}.patch",
                Some("https://b.example/a%b.patch"),
            ),
            ("Source1: plain.tar.gz", None),
            ("Source2: %{forge}/%{twice}", None),
            ("Source3: %{forge}/%{call}", None),
            ("Source4: %{forge}/%{?none:x}", None),
            ("Source5: %{forge}/%{lua:print(1)}", None),
            ("Source6: %{forge}/%(date)", None),
            ("Sources: https://a.example/", None),
            ("SourceLicense: https://a.example/", None),
        ];
        for (line, wanted) in table {
            assert_eq!(macros.source_of(line).as_deref(), wanted, "{line}");
        }
        assert_eq!(base_name("https://a/x.tar#/y.tar"), Some("y.tar"));
    }

    #[test]
    fn macros_that_feed_on_each_other_end() {
        let macros = Macros::of("%global a %{b}%{b}\n%global b %{a}%{a}\n");
        assert_eq!(macros.expand("%{a}", DEPTH), None);
        // Each level twice the one before: without a budget, the last would never be reached.
        let tower: String = (0..40)
            .map(|i| format!("%global m{i} %{{m{}}}%{{m{}}}\n", i + 1, i + 1))
            .collect();
        let tower = tower + "%global m40 x";
        let macros = Macros::of(&tower);
        for i in 0..40 {
            let _ = macros.expand(&format!("%m{i}"), 64);
        }
        assert_eq!(macros.left.get(), 0);
        let long = format!("%global x {}\n", "y".repeat(VALUE_BYTES));
        assert_eq!(Macros::of(&long).expand("%x%x", DEPTH), None);
    }
}
