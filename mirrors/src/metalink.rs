//! Metalink 3.0 as librepo (dnf, dnf5, tdnf, microdnf) and libzypp read it.
//!
//! The dialect is mirrormanager's (`mirrormanager2/lib/metalink`, template of the XML answer; the
//! reader is librepo `librepo/metalink.c`). One file, always called `repomd.xml`:
//!
//! ```xml
//! <metalink version="3.0" xmlns="http://www.metalinker.org/" xmlns:mm0="http://fedorahosted.org/mirrormanager">
//!   <files>
//!     <file name="repomd.xml">
//!       <mm0:timestamp>1763600000</mm0:timestamp>
//!       <size>3070</size>
//!       <verification><hash type="sha256">…</hash><hash type="sha512">…</hash></verification>
//!       <mm0:alternates>…</mm0:alternates>
//!       <resources maxconnections="1"><url protocol="https" …>https://…/repodata/repomd.xml</url></resources>
//! ```
//!
//! The metalink is what makes a mirror untrusted: the client checks the repomd's digest before it
//! reads it. Alternates let a client accept a mirror that is a little behind; they come from the
//! publish log, newest first, so the current repomd can never fall out in favour of an old one.

use repo_model::{FileDigest, Timestamp};
use sha2::{Digest as _, Sha512};
use std::fmt::Write as _;

/// One `repomd.xml`, past or present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repomd {
    /// Its publish instant; equals `<revision>` and the newest `<timestamp>` inside.
    pub timestamp: Timestamp,
    /// Bytes.
    pub size_bytes: u64,
    /// SHA-256 of the file.
    pub sha256: FileDigest,
    /// SHA-512 of the file, raw.
    pub sha512: [u8; 64],
}

impl Repomd {
    /// Measures the file's bytes, which were published at `timestamp`.
    pub fn of(bytes: &[u8], timestamp: Timestamp) -> Self {
        Self {
            timestamp,
            size_bytes: bytes.len() as u64,
            sha256: FileDigest::of(bytes),
            sha512: Sha512::digest(bytes).into(),
        }
    }
}

/// How a mirror is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// `https://`
    Https,
    /// `http://`
    Http,
    /// `file://`, for media and tests.
    File,
}

impl Protocol {
    /// The name in XML and the scheme of the URL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
            Self::File => "file",
        }
    }

    /// The protocol of `url`; none when clients could not use it here.
    pub fn of_url(url: &str) -> Option<Self> {
        let (scheme, _) = url.split_once("://")?;
        [Self::Https, Self::Http, Self::File]
            .into_iter()
            .find(|protocol| scheme.eq_ignore_ascii_case(protocol.name()))
    }
}

/// Where the file can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorUrl {
    /// The whole URL, ending in `/repodata/repomd.xml`: clients cut that off to get the base.
    pub url: String,
    /// Two-letter country code in capitals; none when the mirror has no place.
    pub location: Option<String>,
    /// 1 to 100; clients try higher ones first. Other values are brought into that range.
    pub preference: u8,
    /// How it is reached.
    pub protocol: Protocol,
}

/// What a metalink says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metalink {
    /// The channel's current `repomd.xml`.
    pub repomd: Repomd,
    /// Earlier ones that mirrors may still have, newest first. One that equals `repomd` is left
    /// out, as happens when a channel is rolled back.
    pub alternates: Vec<Repomd>,
    /// Mirrors, in any order; written by falling preference, then by URL.
    pub urls: Vec<MirrorUrl>,
}

/// Writes the XML, with a final newline. Equal input, equal bytes.
///
/// Characters that XML 1.0 cannot hold are left out of URLs and locations; all others are escaped.
pub fn render(metalink: &Metalink) -> String {
    let mut urls: Vec<_> = metalink.urls.iter().collect();
    urls.sort_by_key(|mirror| (std::cmp::Reverse(mirror.preference), &mirror.url));
    let urls: Vec<(Prepared, u8)> = urls
        .into_iter()
        .map(|url| {
            (
                Prepared::new(url.protocol, url.location.as_deref(), &url.url),
                url.preference,
            )
        })
        .collect();
    Head::new(&metalink.repomd, &metalink.alternates)
        .document(urls.iter().map(|(url, preference)| (url, *preference)))
}

/// Everything of a metalink but its URLs, ready to be sent: what does not depend on who asks.
#[derive(Debug, Clone)]
pub struct Head(String);

/// One URL, ready but for its preference.
#[derive(Debug, Clone)]
pub struct Prepared {
    before: String,
    after: String,
}

const FOOT: &str = "      </resources>\n    </file>\n  </files>\n</metalink>\n";

impl Head {
    /// * `alternates`: earlier ones, newest first; one that equals `repomd` is left out.
    pub fn new(repomd: &Repomd, alternates: &[Repomd]) -> Self {
        let mut out = String::with_capacity(2_048 + 512 * alternates.len());
        out.push_str(concat!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n",
            "<metalink version=\"3.0\" xmlns=\"http://www.metalinker.org/\" type=\"dynamic\" generator=\"hallmark\" ",
            "xmlns:mm0=\"http://fedorahosted.org/mirrormanager\">\n",
            "  <files>\n",
            "    <file name=\"repomd.xml\">\n",
        ));
        write_repomd(&mut out, "      ", repomd);
        write_alternates(&mut out, repomd.sha256, alternates);
        out.push_str("      <resources maxconnections=\"1\">\n");
        Self(out)
    }

    /// The whole document with these URLs, in this order, with a preference of 1 to 100 each; other
    /// values are brought into that range.
    pub fn document<'a>(&self, urls: impl Iterator<Item = (&'a Prepared, u8)> + Clone) -> String {
        let bytes: usize = urls
            .clone()
            .map(|(url, _)| url.before.len() + url.after.len() + 3)
            .sum();
        let mut out = String::with_capacity(self.0.len() + bytes + FOOT.len());
        out.push_str(&self.0);
        for (url, preference) in urls {
            out.push_str(&url.before);
            // Writing into a String cannot fail, here and below.
            let _ = write!(out, "{}", preference.clamp(1, 100));
            out.push_str(&url.after);
        }
        out.push_str(FOOT);
        out
    }
}

impl Prepared {
    /// * `location`: two-letter country code in capitals.
    /// * `url`: ends in `/repodata/repomd.xml`.
    pub fn new(protocol: Protocol, location: Option<&str>, url: &str) -> Self {
        let protocol = protocol.name();
        let mut before = format!("        <url protocol=\"{protocol}\" type=\"{protocol}\"");
        if let Some(location) = location {
            let _ = write!(before, " location=\"{}\"", escape(location));
        }
        before.push_str(" preference=\"");
        Self {
            before,
            after: format!("\">{}</url>\n", escape(url)),
        }
    }
}

fn write_repomd(out: &mut String, indent: &str, repomd: &Repomd) {
    let _ = write!(
        out,
        "{indent}<mm0:timestamp>{}</mm0:timestamp>\n\
         {indent}<size>{}</size>\n\
         {indent}<verification>\n\
         {indent}  <hash type=\"sha256\">{}</hash>\n\
         {indent}  <hash type=\"sha512\">{}</hash>\n\
         {indent}</verification>\n",
        repomd.timestamp.unix_secs(),
        repomd.size_bytes,
        repomd.sha256,
        hex::encode(repomd.sha512),
    );
}

fn write_alternates(out: &mut String, current: FileDigest, alternates: &[Repomd]) {
    let mut others = alternates
        .iter()
        .filter(|old| old.sha256 != current)
        .peekable();
    if others.peek().is_none() {
        return;
    }
    out.push_str("      <mm0:alternates>\n");
    for old in others {
        out.push_str("        <mm0:alternate>\n");
        write_repomd(out, "          ", old);
        out.push_str("        </mm0:alternate>\n");
    }
    out.push_str("      </mm0:alternates>\n");
}

/// Escapes for element content and quoted attributes alike.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            // The rest of the controls, and the two non-characters, do not exist in XML 1.0.
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {}
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Metalink {
        let repomd =
            |text: &str, secs| Repomd::of(text.as_bytes(), Timestamp::from_unix_secs(secs));
        let mirror = |url: &str, location: Option<&str>, preference| MirrorUrl {
            url: url.to_owned(),
            location: location.map(str::to_owned),
            preference,
            protocol: Protocol::of_url(url).unwrap(),
        };
        Metalink {
            repomd: repomd("<repomd>3</repomd>", 1_763_600_300),
            alternates: vec![
                repomd("<repomd>2</repomd>", 1_763_600_200),
                repomd("<repomd>3</repomd>", 1_763_600_300),
                repomd("<repomd>1</repomd>", 1_763_600_100),
            ],
            urls: vec![
                mirror("http://b.example/repodata/repomd.xml", Some("DE"), 50),
                mirror(
                    "https://a.example/x?a=1&b='<2>'/repodata/repomd.xml",
                    None,
                    255,
                ),
                mirror(
                    "http://a.example/repodata/repomd.xml",
                    Some("\"\u{1}FR"),
                    50,
                ),
            ],
        }
    }

    #[test]
    fn the_document_is_the_golden_one() {
        let golden = include_str!("../tests/golden/metalink.xml");
        assert_eq!(render(&sample()), golden);
    }

    #[test]
    fn without_earlier_releases_there_is_no_alternates_element() {
        let mut metalink = sample();
        metalink.alternates = vec![metalink.repomd.clone()];
        let xml = render(&metalink);
        assert!(!xml.contains("alternate"), "{xml}");
    }

    #[test]
    fn only_urls_that_clients_can_use_have_a_protocol() {
        for (url, protocol) in [
            ("HTTPS://a/", Some(Protocol::Https)),
            ("http://a/", Some(Protocol::Http)),
            ("file:///srv", Some(Protocol::File)),
            ("rsync://a/", None),
            ("httpx://a/", None),
            ("/srv", None),
        ] {
            assert_eq!(Protocol::of_url(url), protocol, "{url}");
        }
    }
}
