//! A path inside a repository, safe to join to a directory.

use std::fmt;
use std::str::FromStr;

/// A package's path below the repository's root: relative, without `..`, without control
/// characters. It is written raw, not percent-encoded, as createrepo_c does: `+ ~ ^` stay as is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Href(String);

/// The text is not a usable location. The caller's fault; do not retry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a package location: {why}")]
pub struct ParseHrefError {
    text: String,
    why: &'static str,
}

impl Href {
    /// Stands in where a package is only tried.
    pub fn placeholder() -> Self {
        Self("package.rpm".to_owned())
    }

    /// The path as written in the metadata.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Href {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Href {
    type Err = ParseHrefError;

    /// Strips a leading `./`; refuses what could leave the repository.
    fn from_str(text: &str) -> Result<Self, ParseHrefError> {
        let path = text.trim_start_matches("./");
        let refuse = |why| {
            Err(ParseHrefError {
                text: text.chars().take(200).collect(),
                why,
            })
        };
        if path.is_empty() {
            return refuse("it is empty");
        }
        if text.starts_with('/') || path.starts_with('/') {
            return refuse("it is absolute");
        }
        if path.split('/').any(|segment| segment == "..") {
            return refuse("it holds `..`");
        }
        if path.contains("://") {
            return refuse("it is a URL");
        }
        if path.chars().any(char::is_control) {
            return refuse("it holds a control character");
        }
        Ok(Self(path.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_raw_relative_and_never_leaves_the_repository() {
        for (text, path) in [
            (
                "Packages/g/gtk+-1.0~rc1^git+1-3.x86_64.rpm",
                "Packages/g/gtk+-1.0~rc1^git+1-3.x86_64.rpm",
            ),
            ("./a.rpm", "a.rpm"),
            ("././a.rpm", "a.rpm"),
            ("a..b.rpm", "a..b.rpm"),
        ] {
            assert_eq!(text.parse::<Href>().unwrap().as_str(), path);
        }
        for bad in [
            "",
            "./",
            "/a.rpm",
            ".//a.rpm",
            "../a.rpm",
            "a/../b.rpm",
            "a\0.rpm",
            "a\n.rpm",
            "http://x/a.rpm",
        ] {
            assert!(bad.parse::<Href>().is_err(), "{bad:?}");
        }
    }
}
