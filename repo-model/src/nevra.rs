//! Package identity: name, epoch, version, release, architecture, and the order rpm gives them.

use crate::rpm::vercmp::vercmp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// Longest text form that is read, bytes. File names end at 255; nobody needs more, and journals and
/// package lists hold one for each package.
pub const MAX_NEVRA_BYTES: usize = 1024;

/// Epoch, version, release; ordered as rpm orders them (rpm `rpmio/rpmver.c`, `rpmverCmp`).
#[derive(Debug, Clone)]
pub struct Evr {
    /// 0 when the package has none.
    pub epoch: u32,
    /// Never holds `-`.
    pub version: String,
    /// Never holds `-`.
    pub release: String,
}

impl PartialEq for Evr {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Evr {}
impl PartialOrd for Evr {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Evr {
    fn cmp(&self, other: &Self) -> Ordering {
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| vercmp(&self.version, &other.version))
            .then_with(|| vercmp(&self.release, &other.release))
    }
}

impl fmt::Display for Evr {
    /// `[epoch:]version-release`, epoch only when it is not 0.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.epoch != 0 {
            write!(f, "{}:", self.epoch)?;
        }
        write!(f, "{}-{}", self.version, self.release)
    }
}

/// Name, EVR and architecture of one package: `name-[epoch:]version-release.arch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nevra {
    /// Package name; may hold `-` and `.`.
    pub name: String,
    /// Epoch, version, release.
    pub evr: Evr,
    /// `x86_64`, `noarch`, `src`, ...
    pub arch: String,
}

impl PartialOrd for Nevra {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Nevra {
    fn cmp(&self, other: &Self) -> Ordering {
        self.name
            .cmp(&other.name)
            .then_with(|| self.evr.cmp(&other.evr))
            .then_with(|| self.arch.cmp(&other.arch))
    }
}

impl fmt::Display for Nevra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}.{}", self.name, self.evr, self.arch)
    }
}

impl Nevra {
    /// `name-version-release.arch.rpm`, the file name that rpmbuild gives (no epoch).
    pub fn file_name(&self) -> String {
        let Evr {
            version, release, ..
        } = &self.evr;
        format!("{}-{version}-{release}.{}.rpm", self.name, self.arch)
    }
}

/// The text is not `name-[epoch:]version-release.arch`. The sender's fault; do not retry.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not name-[epoch:]version-release.arch: {why}")]
pub struct ParseNevraError {
    text: String,
    why: &'static str,
}

impl FromStr for Nevra {
    type Err = ParseNevraError;
    fn from_str(text: &str) -> Result<Self, ParseNevraError> {
        let refuse = |why| ParseNevraError {
            text: text.chars().take(200).collect(),
            why,
        };
        if text.len() > MAX_NEVRA_BYTES {
            return Err(refuse("longer than 1024 bytes"));
        }
        let (rest, arch) = text.rsplit_once('.').ok_or_else(|| refuse("no arch"))?;
        let (rest, release) = rest.rsplit_once('-').ok_or_else(|| refuse("no release"))?;
        let (name, version) = rest.rsplit_once('-').ok_or_else(|| refuse("no version"))?;
        let (epoch, version) = match version.split_once(':') {
            Some((epoch, version)) => (
                epoch
                    .parse()
                    .map_err(|_| refuse("the epoch is not a number"))?,
                version,
            ),
            None => (0, version),
        };
        if [name, version, release, arch]
            .iter()
            .any(|part| part.is_empty())
        {
            return Err(refuse("a part is empty"));
        }
        Ok(Self {
            name: name.to_owned(),
            evr: Evr {
                epoch,
                version: version.to_owned(),
                release: release.to_owned(),
            },
            arch: arch.to_owned(),
        })
    }
}

impl Serialize for Nevra {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Nevra {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nevra_reads_back_as_written() {
        for text in [
            "hello-2.12-1.x86_64",
            "java-1.8.0-openjdk-1:1.8.0.402.b06-2.el9.aarch64",
            "gtk+-1.0~rc1^git+1-3.src",
        ] {
            assert_eq!(text.parse::<Nevra>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "hello",
            "hello-1.x86_64",
            "-1-1.x86_64",
            "a-x:1-1.noarch",
        ] {
            assert!(bad.parse::<Nevra>().is_err(), "{bad}");
        }
    }
}
