//! Licence tags as SPDX expressions, without guessing.
//!
//! 1. A tag that is a strict SPDX expression (operators in any case) stays what it is.
//! 2. Else it is read as Fedora wrote tags before 2022 ("Callaway" names, joined by `and`/`or`):
//!    names with one meaning are mapped by a reviewed table, names with several (`BSD`, `MIT`,
//!    `Public Domain`, anything `with exceptions`) become `LicenseRef-Callaway-…`.
//! 3. Whatever is left becomes one `LicenseRef-…` with the tag as its text.
//!
//! The raw tag is always kept beside the expression. The `spdx` crate's lax mode is never used: it
//! turns `BSD` into BSD-2-Clause.

use sha2::{Digest, Sha256};
use spdx::lexer::{Lexer, Token};
use std::collections::{BTreeMap, BTreeSet};

/// Longer tags are not parsed: the longest known are some kilobytes.
const TAG_BYTES: usize = 32 << 10;

/// Reference and text of what is handed on when that is nothing.
const NO_THINGS: (&str, &str) = (
    "LicenseRef-Hallmark-no-packages",
    "There is no package, and so nothing that is under a licence.",
);

/// A licence tag and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Licence {
    /// As written.
    pub raw: String,
    /// A valid SPDX expression.
    pub expression: String,
    /// `LicenseRef-…` identifiers that the expression uses, each with the text it stands for.
    pub references: BTreeMap<String, String>,
}

impl Licence {
    /// Reads a tag; `None` when it is empty.
    pub fn read(raw: &str) -> Option<Self> {
        let tag = raw.trim();
        if tag.is_empty() {
            return None;
        }
        let mut references = BTreeMap::new();
        let parsed = if tag.len() > TAG_BYTES {
            None
        } else {
            strict(tag, &mut references).or_else(|| callaway(tag, &mut references))
        };
        let expression = parsed.unwrap_or_else(|| {
            let reference = named_reference("", tag);
            references = BTreeMap::from([(reference.clone(), tag.to_owned())]);
            reference
        });
        Some(Self {
            raw: raw.to_owned(),
            expression,
            references,
        })
    }

    /// The licence of things that are handed on together: each of theirs holds. `None` when one of them
    /// has none, because then nobody knows. For no things a reference whose text says so, because SPDX
    /// expressions cannot.
    pub(crate) fn of_all<'a>(licences: impl Iterator<Item = Option<&'a Self>>) -> Option<Self> {
        let mut expressions = BTreeSet::new();
        let mut references = BTreeMap::new();
        for licence in licences {
            let licence = licence?;
            if expressions.insert(licence.expression.as_str()) {
                references.extend(licence.references.clone());
            }
        }
        let choice = |expression: &str| expression.contains(" OR ");
        if expressions.is_empty() {
            let text = (NO_THINGS.0.to_owned(), NO_THINGS.1.to_owned());
            return Some(Self {
                raw: NO_THINGS.1.to_owned(),
                expression: NO_THINGS.0.to_owned(),
                references: BTreeMap::from([text]),
            });
        }
        let joined: Vec<_> = expressions
            .iter()
            .map(|one| match choice(one) && expressions.len() > 1 {
                true => format!("({one})"),
                false => (*one).to_owned(),
            })
            .collect();
        let expression = joined.join(" AND ");
        Some(Self {
            raw: expression.clone(),
            expression,
            references,
        })
    }
}

/// Whether what is made of things under this licence has to be under it too, as the SPDX list marks licences; of
/// several to choose from the mildest counts, and an exception changes nothing.
///
/// * `expression`: an SPDX expression.
/// * `None`: it hangs on a licence that is not of the list, or is no expression.
pub fn is_copyleft(expression: &str) -> Option<bool> {
    if expression.len() > TAG_BYTES {
        return None;
    }
    let parsed = spdx::Expression::parse(expression).ok()?;
    let free_of_it = |others_are_free: bool| {
        parsed.evaluate(|required| match &required.license {
            spdx::LicenseItem::Spdx { id, .. } => !id.is_copyleft(),
            spdx::LicenseItem::Other(_) => others_are_free,
        })
    };
    match (free_of_it(true), free_of_it(false)) {
        (false, _) => Some(true),
        (true, true) => Some(false),
        (true, false) => None,
    }
}

/// The tag as a canonical SPDX expression, if it is one by itself.
fn strict(tag: &str, references: &mut BTreeMap<String, String>) -> Option<String> {
    spdx::Expression::parse(tag).ok()?;
    let mut found = BTreeMap::new();
    let mut expression = String::new();
    for token in Lexer::new(tag) {
        let token = token.ok()?.token;
        let glued = expression.is_empty() || expression.ends_with('(');
        if !glued && !matches!(token, Token::Plus | Token::CloseParen) {
            expression.push(' ');
        }
        match token {
            Token::Spdx(id) => expression.push_str(id.name),
            Token::Exception(id) => expression.push_str(id.name),
            Token::LicenseRef {
                doc_ref: None,
                lic_ref,
            } => {
                let reference = format!("LicenseRef-{lic_ref}");
                expression.push_str(&reference);
                found.insert(reference.clone(), reference);
            }
            // Names something in a document that is not there, or a form that SPDX 2.3 lacks.
            Token::LicenseRef { .. } | Token::AdditionRef { .. } | Token::Unknown(_) => {
                return None;
            }
            Token::Plus => expression.push('+'),
            Token::OpenParen => expression.push('('),
            Token::CloseParen => expression.push(')'),
            Token::With => expression.push_str("WITH"),
            Token::And => expression.push_str("AND"),
            Token::Or => expression.push_str("OR"),
        }
    }
    references.extend(found);
    Some(expression)
}

/// Callaway names that mean one licence, sorted. Reviewed against the Fedora licence list of 2022.
/// `LGPLv2` is not here (2.0-only and 2.1-only both had that name), nor are names that never said
/// a version (`GFDL`, `CC-BY`, `Python`).
static CALLAWAY: &[(&str, &str)] = &[
    ("AGPLv1", "AGPL-1.0-only"),
    ("AGPLv3", "AGPL-3.0-only"),
    ("AGPLv3+", "AGPL-3.0-or-later"),
    ("ASL 1.0", "Apache-1.0"),
    ("ASL 1.1", "Apache-1.1"),
    ("ASL 2.0", "Apache-2.0"),
    ("Artistic 2.0", "Artistic-2.0"),
    ("Boost", "BSL-1.0"),
    ("CC0", "CC0-1.0"),
    ("EUPL 1.1", "EUPL-1.1"),
    ("EUPL 1.2", "EUPL-1.2"),
    ("GPL+", "GPL-1.0-or-later"),
    ("GPLv1", "GPL-1.0-only"),
    ("GPLv2", "GPL-2.0-only"),
    ("GPLv2+", "GPL-2.0-or-later"),
    ("GPLv3", "GPL-3.0-only"),
    ("GPLv3+", "GPL-3.0-or-later"),
    ("LGPLv2+", "LGPL-2.0-or-later"),
    ("LGPLv3", "LGPL-3.0-only"),
    ("LGPLv3+", "LGPL-3.0-or-later"),
    ("MPLv1.0", "MPL-1.0"),
    ("MPLv1.1", "MPL-1.1"),
    ("MPLv2.0", "MPL-2.0"),
    ("ZPLv2.0", "ZPL-2.0"),
    ("ZPLv2.1", "ZPL-2.1"),
    ("zlib", "Zlib"),
];

/// Callaway names that meant a family of licences, and `… with exceptions`.
static FAMILIES: &[&str] = &[
    "Artistic",
    "BSD",
    "BSD with advertising",
    "BSD with attribution",
    "CC-BY",
    "CC-BY-ND",
    "CC-BY-SA",
    "Copyright only",
    "Distributable",
    "Freely redistributable without restriction",
    "GFDL",
    "GPL",
    "Inner-Net",
    "LGPL",
    "LGPLv2",
    "LPPL",
    "MIT",
    "MIT with advertising",
    "MPL",
    "OFL",
    "OpenLDAP",
    "PHP",
    "PSF",
    "Public Domain",
    "Python",
    "UCD",
    "Redistributable, no modification permitted",
];

fn callaway(tag: &str, references: &mut BTreeMap<String, String>) -> Option<String> {
    let mut found = BTreeMap::new();
    let mut parts: Vec<String> = Vec::new();
    let mut name: Vec<&str> = Vec::new();
    let spaced = tag.replace('(', " ( ").replace(')', " ) ");
    let words = spaced.split_whitespace().map(Some).chain([None]);
    for word in words {
        let operator = match word {
            Some(word @ ("(" | ")")) => Some(word),
            Some(word) if word.eq_ignore_ascii_case("and") => Some("AND"),
            Some(word) if word.eq_ignore_ascii_case("or") => Some("OR"),
            Some(word) => {
                name.push(word);
                continue;
            }
            None => None,
        };
        if !name.is_empty() {
            parts.push(operand(&name.join(" "), &mut found)?);
            name.clear();
        }
        parts.extend(operator.map(str::to_owned));
    }
    let expression = parts.join(" ").replace("( ", "(").replace(" )", ")");
    // Whether operators and parentheses make sense is the strict parser's to say.
    let expression = strict(&expression, &mut BTreeMap::new())?;
    references.extend(found);
    Some(expression)
}

/// One name of a Callaway tag; `None` for a name that is not known.
fn operand(name: &str, references: &mut BTreeMap<String, String>) -> Option<String> {
    if let Some((_, id)) = CALLAWAY.iter().find(|(callaway, _)| *callaway == name) {
        return Some((*id).to_owned());
    }
    let is_family = FAMILIES.contains(&name)
        || name.strip_suffix(" with exceptions").is_some_and(|base| {
            FAMILIES.contains(&base) || CALLAWAY.iter().any(|(callaway, _)| *callaway == base)
        });
    if is_family {
        let reference = named_reference("Callaway-", name);
        references.insert(reference.clone(), name.to_owned());
        return Some(reference);
    }
    strict(name, references)
}

/// `LicenseRef-<prefix><name>`, with eight digits of the name's SHA-256 where the name had to be
/// changed by more than writing `-` for a space, so that different names stay different.
fn named_reference(prefix: &str, name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    let plain: String = name
        .chars()
        .take(60)
        .map(|c| if fits(c) { c } else { '-' })
        .collect();
    let kept = name.chars().count() <= 60
        && name.chars().all(|c| fits(c) || c == ' ')
        && !(name.contains(' ') && name.contains('-'));
    match kept && !prefix.is_empty() {
        true => format!("LicenseRef-{prefix}{plain}"),
        false => {
            let digest = hex::encode(&Sha256::digest(name)[..4]);
            format!("LicenseRef-{prefix}{plain}-{digest}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copyleft_is_told_where_the_list_tells_it() {
        for (expression, wanted) in [
            ("MIT", Some(false)),
            ("GPL-3.0-or-later", Some(true)),
            ("GPL-2.0-only WITH Classpath-exception-2.0", Some(true)),
            ("LGPL-2.1-or-later", Some(true)),
            ("MPL-2.0", Some(true)),
            ("MIT AND GPL-2.0-only", Some(true)),
            ("MIT OR GPL-2.0-only", Some(false)),
            ("(MIT OR GPL-2.0-only) AND AGPL-3.0-only", Some(true)),
            ("LicenseRef-x", None),
            ("LicenseRef-x AND GPL-2.0-only", Some(true)),
            ("LicenseRef-x OR MIT", Some(false)),
            ("LicenseRef-x AND MIT", None),
            ("no expression", None),
        ] {
            assert_eq!(is_copyleft(expression), wanted, "{expression}");
        }
    }

    #[test]
    fn tags_become_valid_expressions_and_nothing_is_guessed() {
        let table = [
            ("MIT", "MIT"),
            ("gpl-3.0-or-later", "LicenseRef-gpl-3.0-or-later-"),
            (
                "GPL-3.0-or-later and GFDL-1.3-or-later",
                "GPL-3.0-or-later AND GFDL-1.3-or-later",
            ),
            (
                "GPL-3.0-or-later AND (GPL-3.0-or-later WITH GCC-exception-3.1 OR Apache-2.0)",
                "GPL-3.0-or-later AND (GPL-3.0-or-later WITH GCC-exception-3.1 OR Apache-2.0)",
            ),
            ("ASL 2.0", "Apache-2.0"),
            (
                "GPLv2+ and (BSD or MIT)",
                "GPL-2.0-or-later AND (LicenseRef-Callaway-BSD OR LicenseRef-Callaway-MIT)",
            ),
            ("Public Domain", "LicenseRef-Callaway-Public-Domain"),
            (
                "LGPLv2+ with exceptions",
                "LicenseRef-Callaway-LGPLv2--with-exceptions-",
            ),
            ("BSD", "LicenseRef-Callaway-BSD"),
            ("LGPL", "LicenseRef-Callaway-LGPL"),
            ("GPL-3.0", "LicenseRef-GPL-3.0-"),
            ("GPL, see COPYING", "LicenseRef-GPL--see-COPYING-"),
            (
                "LicenseRef-Fedora-UltraPermissive",
                "LicenseRef-Fedora-UltraPermissive",
            ),
            (
                "DocumentRef-x:LicenseRef-y",
                "LicenseRef-DocumentRef-x-LicenseRef-y-",
            ),
            ("((((", "LicenseRef------"),
            ("and or", "LicenseRef-and-or-"),
        ];
        for (tag, wanted) in table {
            let licence = Licence::read(tag).unwrap();
            let found = &licence.expression;
            // A name ending in `-` stands for a name with eight digits after it.
            let matches = match wanted.ends_with('-') {
                true => found
                    .strip_prefix(wanted)
                    .is_some_and(|digits| digits.len() == 8),
                false => found == wanted,
            };
            assert!(matches, "{tag}: {found}");
            let parsed = spdx::Expression::parse(found).unwrap();
            for requirement in parsed.requirements() {
                let name = requirement.req.license.to_string();
                let is_reference = name.starts_with("LicenseRef-");
                assert_eq!(
                    is_reference,
                    licence.references.contains_key(&name),
                    "{tag}: {name}"
                );
            }
        }
        assert_eq!(Licence::read(" "), None);
    }

    #[test]
    fn the_table_is_sorted_and_names_only_current_licences() {
        assert!(CALLAWAY.is_sorted());
        for (name, id) in CALLAWAY {
            assert_eq!(
                strict(id, &mut BTreeMap::new()).as_deref(),
                Some(*id),
                "{name}"
            );
            assert!(!FAMILIES.contains(name));
        }
    }

    #[test]
    fn different_tags_never_share_a_reference() {
        let tags = [
            "GPL, a", "GPL; a", "GPL  a", "GPL a", "GPL-a", "Ünix", "ünix",
        ];
        let mut found: Vec<_> = tags
            .iter()
            .map(|tag| Licence::read(tag).unwrap().expression)
            .collect();
        found.sort();
        found.dedup();
        assert_eq!(found.len(), tags.len());
    }
}
