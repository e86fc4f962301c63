//! Which packages belong to modules, as `modules.yaml` and the packages' own names tell.
//!
//! A module has several streams, and each stream its own versions of the same packages: whoever chooses the newest of a
//! name, or one of several repositories' packages, must leave these alone. Of each document only this is read:
//!
//! ```yaml
//! document: modulemd
//! data:
//!   artifacts:
//!     rpms:
//!     - perl-4:5.24.4-404.module_el8.x86_64
//! ```
//!
//! It is not a reader of YAML: lines below `artifacts` that lie deeper than it are searched for words that are a NEVRA,
//! in whatever style the list is written. What is no YAML at all gives what can be found; the worst that comes of a
//! wrong word is a package that stays.

use super::lists::PackageClaim;
use repo_model::Nevra;
use std::collections::HashSet;
use std::io::{self, BufRead, Read};

/// Longest line; a document that is written as JSON has one.
const LINE_MAX_BYTES: u64 = 16 << 20;
/// Memory for the names, bytes; a distribution with all streams of ten years has some five million.
const NAMES_MAX_BYTES: usize = 64 << 20;
/// What a name costs beside its text.
const NAME_BYTES: usize = 48;

/// The packages that belong to modules.
#[derive(Debug, Clone, Default)]
pub struct ModularPackages {
    /// `name-[epoch:]version-release.arch`, without an epoch of 0.
    listed: HashSet<Box<str>>,
    bytes: usize,
}

impl ModularPackages {
    /// Adds what a `modules.yaml` lists, malformed or not.
    ///
    /// Fails where it cannot be read, and where it is so large that it fills memory: the repository's fault.
    pub fn read(&mut self, mut input: impl BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        // How far the `artifacts` are indented whose lines these are.
        let mut artifacts = None;
        loop {
            line.clear();
            (&mut input)
                .take(LINE_MAX_BYTES)
                .read_until(b'\n', &mut line)?;
            if line.is_empty() {
                return Ok(());
            }
            if line.len() as u64 == LINE_MAX_BYTES {
                let text = format!("it has a line of more than {LINE_MAX_BYTES} bytes");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            let text = String::from_utf8_lossy(&line);
            self.read_line(text.trim_end(), &mut artifacts)?;
        }
    }

    fn read_line(&mut self, line: &str, artifacts: &mut Option<usize>) -> io::Result<()> {
        let content = line.trim_start();
        let indent = line.len() - content.len();
        if content.is_empty() || content.starts_with('#') {
            return Ok(());
        }
        if artifacts.is_some_and(|artifacts| indent <= artifacts) {
            *artifacts = None;
        }
        let mut words = line.split(|c: char| c.is_whitespace() || "[]{},\"'".contains(c));
        if artifacts.is_none() {
            // As a key, quoted or not; what stands behind it on the line belongs to it.
            if !words.any(|word| matches!(word, "artifacts:" | "artifacts")) {
                return Ok(());
            }
            *artifacts = Some(indent);
        }
        for word in words {
            if let Ok(nevra) = word.parse::<Nevra>() {
                self.add(&nevra)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, nevra: &Nevra) -> io::Result<()> {
        let text: Box<str> = nevra.to_string().into();
        let bytes = text.len() + NAME_BYTES;
        if self.listed.insert(text) {
            self.bytes += bytes;
        }
        if self.bytes > NAMES_MAX_BYTES {
            let text =
                format!("its lists of packages take more than {NAMES_MAX_BYTES} bytes of memory");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(())
    }

    /// Whether a package belongs to a module: it is listed, or its release says so, as that of every modular package
    /// of Fedora and its kin does.
    pub fn has(&self, claim: &PackageClaim) -> bool {
        is_of_a_module(&claim.version.release) || self.lists(|| claim.nevra())
    }

    /// The same.
    pub fn has_nevra(&self, nevra: &Nevra) -> bool {
        is_of_a_module(&nevra.evr.release) || self.lists(|| nevra.to_string())
    }

    fn lists(&self, nevra: impl Fn() -> String) -> bool {
        !self.listed.is_empty() && self.listed.contains(nevra().as_str())
    }
}

fn is_of_a_module(release: &str) -> bool {
    release.contains(".module")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::Version;

    fn claim(name: &str, epoch: &str, version: &str, release: &str) -> PackageClaim {
        PackageClaim {
            name: name.to_owned(),
            arch: "noarch".to_owned(),
            version: Version {
                epoch: epoch.to_owned(),
                version: version.to_owned(),
                release: release.to_owned(),
            },
            ..PackageClaim::default()
        }
    }

    fn listed(text: &str) -> Vec<String> {
        let mut found = ModularPackages::default();
        found.read(text.as_bytes()).unwrap();
        let mut listed: Vec<String> = found.listed.iter().map(|name| name.to_string()).collect();
        listed.sort();
        listed
    }

    #[test]
    fn artifacts_are_found_in_every_style_and_nothing_else_is() {
        let block = "---\ndocument: modulemd\nversion: 2\ndata:\n  name: m\n  stream: 2.10\n  \
                     description: like other-1-1.noarch\n  artifacts: # as built\n    rpms:\n    # z-1-1.noarch\n    - a-0:1-1.noarch\n\n    \
                     - \"b-2:1.0-1.x86_64\"\n  profiles:\n    default:\n      rpms:\n      - c-1-1.noarch\n...\n";
        assert_eq!(listed(block), ["a-1-1.noarch", "b-2:1.0-1.x86_64"]);
        let flow = "data: {stream: 1, artifacts: {rpms: [a-0:1-1.noarch,\n  'b-1:1-1.noarch']}}\nx-1-1.noarch\n";
        assert_eq!(listed(flow), ["a-1-1.noarch", "b-1:1-1.noarch"]);
        let json = r#"{"document":"modulemd","data":{"artifacts":{"rpms":["a-0:1-1.noarch","b-0:1-1.src"]}}}"#;
        assert_eq!(listed(json), ["a-1-1.noarch", "b-1-1.src"]);
        // Several documents, the list as deep as its key, line ends of another system.
        let two = "---\r\ndata:\r\n  artifacts:\r\n    rpms:\r\n    - a-0:1-1.noarch\r\n...\r\n---\r\ndata:\r\n artifacts:\r\n  rpms:\r\n  - b-0:1-1.noarch\r\n";
        assert_eq!(listed(two), ["a-1-1.noarch", "b-1-1.noarch"]);
    }

    #[test]
    fn a_package_is_known_by_the_list_or_by_its_release() {
        let mut modules = ModularPackages::default();
        modules
            .read(&b"artifacts:\n  rpms: [a-0:1-1.noarch, a-3:1-1.noarch]\n"[..])
            .unwrap();
        assert!(modules.has(&claim("a", "0", "1", "1")));
        assert!(modules.has(&claim("a", "3", "1", "1")));
        assert!(!modules.has(&claim("a", "1", "1", "1")));
        assert!(!modules.has(&claim("a", "0", "1", "2")));
        for (nevra, is_modular) in [("a-3:1-1.noarch", true), ("a-2:1-1.noarch", false)] {
            assert_eq!(modules.has_nevra(&nevra.parse().unwrap()), is_modular);
        }
        let none = ModularPackages::default();
        assert!(none.has(&claim("a", "0", "1", "2.module_f34+1")));
        assert!(none.has_nevra(&"a-1-2.module+el8.noarch".parse().unwrap()));
        assert!(!none.has(&claim("a", "0", "1", "2.modular")));
    }

    #[test]
    fn case_41_malformed_documents_give_what_is_in_them_and_too_much_is_refused() {
        let torn = b"data: [unclosed\n\t- tab\n artifacts:\n\xff\xfe\n  rpms\n  - a-0:1-1.noarch\n  - a-x:1-1.noarch\n  - -\n";
        let mut found = ModularPackages::default();
        found.read(&torn[..]).unwrap();
        // The line that is no text ended the list: it is not indented.
        assert_eq!(found.listed.len(), 0);
        let torn = b"artifacts:\n  \xff\n  - a-0:1-1.noarch\n  - a-x:1-1.noarch\n  - -\n";
        found.read(&torn[..]).unwrap();
        assert_eq!(found.listed.len(), 1);
        let endless = io::BufReader::new(io::repeat(b'a').take(LINE_MAX_BYTES + 1));
        let error = found.read(endless).unwrap_err().to_string();
        assert!(error.contains("a line of more"), "{error}");
        found.bytes = NAMES_MAX_BYTES;
        found.read(&torn[..]).unwrap();
        let more = found.read(&b"artifacts: b-0:1-1.noarch\n"[..]);
        let error = more.unwrap_err().to_string();
        assert!(error.contains("bytes of memory"), "{error}");
    }
}
