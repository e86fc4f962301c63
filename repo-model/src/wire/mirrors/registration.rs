//! How a mirror asks to be known, within bounds.

use super::Standing;
use crate::{Country, MirrorName, Netblock};
use serde::{Deserialize, Serialize};

/// Most URLs of a mirror.
pub const MAX_URLS: usize = 4;
/// Longest URL, bytes.
pub const MAX_URL_BYTES: usize = 400;
/// Most netblocks, and most autonomous systems, of a mirror.
pub const MAX_BLOCKS: usize = 64;
/// Longest [`Registration::contact`] and [`Reject::reason`], characters.
pub const MAX_TEXT_CHARS: usize = 300;
/// Greatest [`Registration::weight`].
pub const MAX_WEIGHT: u32 = 10_000;

/// A mirror as its operator describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// How it is called.
    pub name: MirrorName,
    /// Where the tree is, the best address first: `{channel}/{repo}/{arch}/repodata/repomd.xml` lies below
    /// each. `http://` or `https://`, without a slash at the end.
    pub urls: Vec<String>,
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<Country>,
    /// Degrees north and east, for the map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coordinates: Option<(f32, f32)>,
    /// Autonomous systems whose clients are near.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asns: Vec<u32>,
    /// Addresses whose clients are nearest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub netblocks: Vec<Netblock>,
    /// Share of clients among mirrors that are as near: 200 gets twice as many as 100.
    #[serde(default = "default_weight")]
    pub weight: u32,
    /// Only clients in its netblocks and autonomous systems are sent to it, and only they hear of it.
    #[serde(default)]
    pub private: bool,
    /// Comes before others that are as near.
    #[serde(default)]
    pub preferred: bool,
    /// Whom to ask.
    pub contact: String,
}

fn default_weight() -> u32 {
    100
}

/// The registration cannot be taken. The sender's fault; correct it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct RegistrationError {
    /// Which field.
    pub field: &'static str,
    /// What is wrong with it.
    pub why: String,
}

impl Registration {
    /// Refuses what could not be used or would be unbounded.
    pub fn check(&self) -> Result<(), RegistrationError> {
        let refuse = |field, why: String| Err(RegistrationError { field, why });
        if self.urls.is_empty() || self.urls.len() > MAX_URLS {
            return refuse(
                "urls",
                format!("{} URLs: want 1 to {MAX_URLS}", self.urls.len()),
            );
        }
        if let Some((url, why)) = self
            .urls
            .iter()
            .find_map(|url| Some((url, url_problem(url)?)))
        {
            let shown: String = url.chars().take(80).collect();
            return refuse("urls", format!("`{shown}` {why}"));
        }
        for (field, count) in [
            ("asns", self.asns.len()),
            ("netblocks", self.netblocks.len()),
        ] {
            if count > MAX_BLOCKS {
                return refuse(field, format!("{count} of them: want at most {MAX_BLOCKS}"));
            }
        }
        if !(1..=MAX_WEIGHT).contains(&self.weight) {
            return refuse("weight", format!("{}: want 1 to {MAX_WEIGHT}", self.weight));
        }
        if self.private && self.asns.is_empty() && self.netblocks.is_empty() {
            return refuse(
                "private",
                "nobody would be sent to it: name netblocks or asns".to_owned(),
            );
        }
        let chars = self.contact.chars().count();
        if chars == 0 || chars > MAX_TEXT_CHARS {
            return refuse(
                "contact",
                format!("{chars} characters: want 1 to {MAX_TEXT_CHARS}"),
            );
        }
        match self.coordinates {
            Some((north, east)) if !(north.abs() <= 90.0 && east.abs() <= 180.0) => refuse(
                "coordinates",
                "want degrees: -90 to 90, -180 to 180".to_owned(),
            ),
            _ => Ok(()),
        }
    }
}

fn url_problem(url: &str) -> Option<&'static str> {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest else {
        return Some("begins with neither https:// nor http://");
    };
    let host = rest.split('/').next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_graphic() && !"\"'<>\\^`{|}@?#".contains(c);
    match () {
        () if url.len() > MAX_URL_BYTES => Some("is too long"),
        () if host.is_empty() || host.starts_with(':') => Some("names no host"),
        () if !rest.chars().all(plain) => {
            Some("has a character that a plain URL has not: no user name, query or blank")
        }
        () if url.ends_with('/') => Some("ends with a slash: drop it"),
        () if rest.split('/').any(|part| part == "." || part == "..") => Some("has dots as a part"),
        () => None,
    }
}

/// What became of a registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// Where it stands.
    pub standing: Standing,
    /// The mirror's own token, shown this once: with it its operator sees everything that is known of the
    /// mirror, and can take it off the list.
    pub token: String,
    /// Why the mirror will do no good as it is described, if that is known already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// Body of `reject`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reject {
    /// Told to the mirror's operator.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration() -> Registration {
        Registration {
            name: "north".parse().unwrap(),
            urls: vec!["https://mirror.example/hallmark".to_owned()],
            country: None,
            coordinates: Some((59.9, 10.7)),
            asns: Vec::new(),
            netblocks: Vec::new(),
            weight: 100,
            private: false,
            preferred: false,
            contact: "ops@mirror.example".to_owned(),
        }
    }

    #[test]
    fn a_registration_is_bounded_and_its_urls_are_plain() {
        registration().check().unwrap();
        for bad in [
            "ftp://mirror.example",
            "https://",
            "https://:80/x",
            "https://u:p@mirror.example/x",
            "https://mirror.example/x/",
            "https://mirror.example/x?y",
            "https://mirror.example/a b",
            "https://mirror.example/a/../b",
            "https://mirror.example/<x>",
        ] {
            let one = Registration {
                urls: vec![bad.to_owned()],
                ..registration()
            };
            assert_eq!(one.check().unwrap_err().field, "urls", "{bad}");
        }
        for (field, one) in [
            (
                "urls",
                Registration {
                    urls: Vec::new(),
                    ..registration()
                },
            ),
            (
                "weight",
                Registration {
                    weight: 0,
                    ..registration()
                },
            ),
            (
                "private",
                Registration {
                    private: true,
                    ..registration()
                },
            ),
            (
                "contact",
                Registration {
                    contact: String::new(),
                    ..registration()
                },
            ),
            (
                "coordinates",
                Registration {
                    coordinates: Some((f32::NAN, 0.0)),
                    ..registration()
                },
            ),
            (
                "asns",
                Registration {
                    asns: vec![1; 65],
                    ..registration()
                },
            ),
        ] {
            assert_eq!(one.check().unwrap_err().field, field);
        }
    }
}
