//! What is found inside a package, and how it is known.

use std::collections::BTreeSet;

/// How a claim was come by; the words are CycloneDX's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Technique {
    /// Read out of a compiled file.
    BinaryAnalysis,
    /// Read from a manifest: a file made to say so, or the package's own header.
    ManifestAnalysis,
}

impl Technique {
    /// `binary-analysis` or `manifest-analysis`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BinaryAnalysis => "binary-analysis",
            Self::ManifestAnalysis => "manifest-analysis",
        }
    }
}

/// One reason to believe that a component is inside the package. Ordered by source, then place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Evidence {
    /// Which reader says so: `go-buildinfo`, `cargo-auditable`, `bundled-provide`, ...
    pub source: &'static str,
    /// Absolute path of the file it was read from; `None` for the package's header.
    pub path: Option<String>,
    /// How it was come by.
    pub technique: Technique,
    /// 0 to 100.
    pub confidence_percent: u8,
}

/// Whether the component takes part when the package runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Part of what runs.
    Required,
    /// Took part in the build only.
    Excluded,
}

/// Whether a reader saw a part of something or the thing itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A dependency that was built in or copied in.
    Part,
    /// The main module or root crate of a binary: perhaps the packaged project itself.
    Main,
}

/// One component inside a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// Canonical package URL; the key.
    pub purl: String,
    /// Type of the package URL: `golang`, `cargo`, `pypi`, `npm`, `maven`, `gem`, `composer`, `nuget`, `rpm`, `generic`, …
    pub ecosystem: &'static str,
    /// Namespace of the package URL, as written by the source: a Go path's front, an npm scope.
    pub group: Option<String>,
    /// Name without group.
    pub name: String,
    /// Version as the ecosystem writes it.
    pub version: Option<String>,
    /// Licence as the component's own manifest states it.
    pub licence: Option<String>,
    /// Whether it takes part at run time.
    pub scope: Scope,
    /// Part, or perhaps the packaged project itself.
    pub role: Role,
    /// Further facts: (name, value).
    pub properties: BTreeSet<(String, String)>,
    /// Why it is believed to be there; never empty.
    pub evidence: BTreeSet<Evidence>,
}

/// Longest name, group or version in bytes; npm's own limit on names is 214.
const NAME_BYTES: usize = 1024;
/// Longest value of a property and longest licence tag in bytes.
const TEXT_BYTES: usize = 8192;

impl Component {
    /// A required part with one piece of evidence; `None` when the name makes no package URL or is
    /// absurdly long.
    pub(crate) fn new(
        ecosystem: &'static str,
        group: Option<&str>,
        name: &str,
        version: Option<&str>,
        evidence: Evidence,
    ) -> Option<Self> {
        let version = version.filter(|version| !version.is_empty());
        let group = group.filter(|group| !group.is_empty());
        let lengths = [Some(name), group, version].map(|text| text.map_or(0, str::len));
        if lengths.iter().any(|length| *length > NAME_BYTES) {
            return None;
        }
        Some(Self {
            purl: crate::purl::purl(ecosystem, group, name, version, &[])?,
            ecosystem,
            group: group.map(str::to_owned),
            name: name.to_owned(),
            version: version.map(str::to_owned),
            licence: None,
            scope: Scope::Required,
            role: Role::Part,
            properties: BTreeSet::new(),
            evidence: BTreeSet::from([evidence]),
        })
    }

    /// `group/name`, or the name alone.
    pub fn full_name(&self) -> String {
        match &self.group {
            Some(group) => format!("{group}/{}", self.name),
            None => self.name.clone(),
        }
    }

    /// Adds a fact; one that is absurdly long is left out.
    pub(crate) fn property(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        if value.len() <= TEXT_BYTES {
            self.properties.insert((name.to_owned(), value));
        }
    }

    /// Sets the licence that the component states; a tag that is absurdly long is a text, not a tag.
    pub(crate) fn state_licence(&mut self, tag: Option<&str>) {
        self.licence = tag.filter(|tag| tag.len() <= TEXT_BYTES).map(str::to_owned);
    }
}
