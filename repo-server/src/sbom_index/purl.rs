//! Package URLs as questions and advisories name things: ecosystem, name, perhaps a version.

use packageurl::PackageUrl;
use std::collections::BTreeMap;
use std::str::FromStr as _;

/// Longer texts are not parsed: the longest names known have some hundred bytes.
pub const MAX_BYTES: usize = 4096;

/// A package URL taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purl {
    /// `golang`, `cargo`, `rpm`, ...
    pub ecosystem: String,
    /// As written, decoded.
    pub namespace: Option<String>,
    /// What the index knows it by: `namespace/name`, or for an RPM the name alone, because one
    /// package has another namespace in each distribution.
    pub name: String,
    /// Of an RPM `[epoch:]version[-release]`.
    pub version: Option<String>,
    /// `arch`, `repository_id`, ...
    pub qualifiers: BTreeMap<String, String>,
}

impl Purl {
    /// Reads one; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let parsed = PackageUrl::from_str(text).ok()?;
        let ecosystem = parsed.ty().to_owned();
        let namespace = parsed.namespace().map(str::to_owned);
        let qualifiers: BTreeMap<String, String> = parsed
            .qualifiers()
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect();
        let name = match &namespace {
            Some(namespace) if ecosystem != "rpm" => format!("{namespace}/{}", parsed.name()),
            _ => parsed.name().to_owned(),
        };
        let version = parsed
            .version()
            .map(|version| match qualifiers.get("epoch") {
                Some(epoch) if ecosystem == "rpm" && epoch != "0" => format!("{epoch}:{version}"),
                _ => version.to_owned(),
            });
        Some(Self {
            name: canonical_name(&ecosystem, &name),
            ecosystem,
            namespace,
            version,
            qualifiers,
        })
    }

    /// Whether this, taken as a pattern, names the thing that `other` is: what the pattern leaves open,
    /// version, namespace of an RPM or qualifiers, is not compared.
    pub fn names(&self, other: &Self) -> bool {
        let agree = |pattern: &Option<String>, found: &Option<String>| {
            pattern.is_none() || pattern == found
        };
        self.ecosystem == other.ecosystem
            && self.name == other.name
            && agree(&self.namespace, &other.namespace)
            && agree(&self.version, &other.version)
            && self
                .qualifiers
                .iter()
                .filter(|(key, _)| key.as_str() == "arch")
                .all(|(key, value)| other.qualifiers.get(key) == Some(value))
    }
}

/// A name as the index has it: ecosystems that ignore case or punctuation are made alike.
pub fn canonical_name(ecosystem: &str, name: &str) -> String {
    match ecosystem {
        "golang" | "composer" | "nuget" => name.to_lowercase(),
        "pypi" => name.to_lowercase().replace(['_', '.'], "-"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_url_is_taken_apart_as_the_index_keeps_names() {
        let parse = |text| Purl::parse(text).unwrap();
        let rpm = parse("pkg:rpm/fedora/zlib@1.3-2?arch=x86_64&epoch=1");
        assert_eq!(
            (rpm.name.as_str(), rpm.version.as_deref()),
            ("zlib", Some("1:1.3-2"))
        );
        assert_eq!(parse("pkg:npm/%40types/node@1").name, "@types/node");
        assert_eq!(
            parse("pkg:golang/golang.org/x/net").name,
            "golang.org/x/net"
        );
        assert_eq!(parse("pkg:pypi/Foo_Bar").name, "foo-bar");
        assert_eq!(
            parse("pkg:nuget/Newtonsoft.Json@13").name,
            "newtonsoft.json"
        );
        assert_eq!(Purl::parse("golang.org/x/net"), None);
        assert_eq!(
            Purl::parse(&format!("pkg:npm/{}", "a".repeat(MAX_BYTES))),
            None
        );
    }

    /// Every text that the specification's own cases of RPMs have (`tests/types/rpm-test.json` of purl-spec); those of
    /// building them are in `sbom_gen::purl`.
    #[test]
    fn package_urls_of_rpms_are_read_as_the_specification_reads_them() {
        type Case<'a> = (
            &'a str,
            Option<&'a str>,
            &'a str,
            Option<&'a str>,
            &'a [(&'a str, &'a str)],
        );
        let curl = (Some("fedora"), "curl", Some("7.50.3-1.fc25"));
        let both: &[_] = &[("arch", "i386"), ("distro", "fedora-25")];
        let table: &[Case<'_>] = &[
            (
                "pkg:Rpm/fedora/curl@7.50.3-1.fc25?Arch=i386&Distro=fedora-25",
                curl.0,
                curl.1,
                curl.2,
                both,
            ),
            (
                "pkg:rpm/fedora/curl@7.50.3-1.fc25?arch=i386&distro=fedora-25",
                curl.0,
                curl.1,
                curl.2,
                both,
            ),
            (
                "pkg:rpm/centerim@4.22.10-1.el6?arch=i686&epoch=1&distro=fedora-25",
                None,
                "centerim",
                // As the index has versions of RPMs.
                Some("1:4.22.10-1.el6"),
                &[("arch", "i686"), ("distro", "fedora-25"), ("epoch", "1")],
            ),
            (
                "pkg:rpm/fedora/curl@7.50.3-1.fc25?arch=i386",
                curl.0,
                curl.1,
                curl.2,
                &[("arch", "i386")],
            ),
            (
                "pkg:rpm/fedora/centerim@4.22.10-1.el6?arch=i686&distro=fedora-25&epoch=1",
                Some("fedora"),
                "centerim",
                Some("1:4.22.10-1.el6"),
                &[("arch", "i686"), ("distro", "fedora-25"), ("epoch", "1")],
            ),
            // Not a valid name of a package, and still a pattern to ask with.
            (
                "pkg:rpm/curl@7.50.3-1.fc25?arch=i386&distro=fedora-25",
                None,
                "curl",
                curl.2,
                both,
            ),
            (
                "pkg:rpm/opensuse/zsh?arch=x86_64&distro=opensuse-15.3",
                Some("opensuse"),
                "zsh",
                None,
                &[("arch", "x86_64"), ("distro", "opensuse-15.3")],
            ),
            (
                "pkg:rpm/centos/vim@8.0-1.el7?arch=x86_64&repository_url=https://mirror.centos.org/centos/7/os/x86_64",
                Some("centos"),
                "vim",
                Some("8.0-1.el7"),
                &[
                    ("arch", "x86_64"),
                    (
                        "repository_url",
                        "https://mirror.centos.org/centos/7/os/x86_64",
                    ),
                ],
            ),
        ];
        for (text, namespace, name, version, qualifiers) in table {
            let found = Purl::parse(text).unwrap();
            assert_eq!(found.ecosystem, "rpm", "{text}");
            assert_eq!(found.namespace.as_deref(), *namespace, "{text}");
            assert_eq!(found.name, *name, "{text}");
            assert_eq!(found.version.as_deref(), *version, "{text}");
            let pairs = found.qualifiers.iter();
            let pairs: Vec<_> = pairs
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .collect();
            assert_eq!(pairs, *qualifiers, "{text}");
        }
    }

    #[test]
    fn a_pattern_matches_what_it_leaves_open() {
        let found = Purl::parse("pkg:rpm/acme/zlib@1.3-2?arch=x86_64").unwrap();
        for (pattern, matches) in [
            ("pkg:rpm/zlib", true),
            ("pkg:rpm/acme/zlib", true),
            ("pkg:rpm/other/zlib", false),
            ("pkg:rpm/acme/zlib@1.3-2", true),
            ("pkg:rpm/acme/zlib@1.3-1", false),
            ("pkg:rpm/acme/zlib?arch=aarch64", false),
            ("pkg:rpm/acme/zlib@1.3-2?arch=x86_64&repository_id=x", true),
            ("pkg:generic/zlib", false),
        ] {
            assert_eq!(
                Purl::parse(pattern).unwrap().names(&found),
                matches,
                "{pattern}"
            );
        }
    }
}
