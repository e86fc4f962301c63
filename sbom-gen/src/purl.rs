//! Package URLs in canonical form (purl-spec).

use packageurl::PackageUrl;
use repo_model::Nevra;
use repo_model::rpm::Package;

/// The canonical package URL of these parts; `None` when they make none (an empty name, a type
/// that allows no namespace).
pub(crate) fn purl(
    ecosystem: &str,
    namespace: Option<&str>,
    name: &str,
    version: Option<&str>,
    qualifiers: &[(&str, &str)],
) -> Option<String> {
    // The type file of golang says lower case for namespace and name.
    let lower = |text: &str| match ecosystem {
        "golang" => text.to_lowercase(),
        _ => text.to_owned(),
    };
    let mut purl = PackageUrl::new(ecosystem.to_owned(), lower(name)).ok()?;
    if let Some(namespace) = namespace {
        purl.with_namespace(lower(namespace)).ok()?;
    }
    if let Some(version) = version {
        purl.with_version(version.to_owned()).ok()?;
    }
    for (key, value) in qualifiers {
        purl.add_qualifier((*key).to_owned(), (*value).to_owned())
            .ok()?;
    }
    purl.validate().ok()?;
    Some(purl.to_string())
}

/// The package URL of an RPM: `pkg:rpm/namespace/name@version-release?arch=…[&epoch=…][&rpmmod=…]`.
/// The epoch stands there only when it is not 0.
pub(crate) fn of_rpm(namespace: &str, package: &Package) -> Option<String> {
    let module = package.modularity_label.as_deref();
    of_nevra(namespace, &package.nevra, package.is_source, module, None)
}

/// The same of its parts; `repository` adds where it is to be had (`repository_id`).
pub(crate) fn of_nevra(
    namespace: &str,
    nevra: &Nevra,
    is_source: bool,
    module: Option<&str>,
    repository: Option<&str>,
) -> Option<String> {
    // The type's definition wants a namespace.
    if namespace.trim().is_empty() {
        return None;
    }
    let evr = &nevra.evr;
    let epoch = evr.epoch.to_string();
    // The type's definition names one arch for source packages, `nosrc` ones included.
    let arch = if is_source { "src" } else { &nevra.arch };
    let mut qualifiers = vec![("arch", arch)];
    if evr.epoch != 0 {
        qualifiers.push(("epoch", &epoch));
    }
    qualifiers.extend(module.map(|module| ("rpmmod", module)));
    qualifiers.extend(repository.map(|repository| ("repository_id", repository)));
    let version = format!("{}-{}", evr.version, evr.release);
    purl(
        "rpm",
        Some(namespace),
        &nevra.name,
        Some(&version),
        &qualifiers,
    )
}

/// A file name as a relative URL: every byte outside the unreserved ones is escaped.
pub(crate) fn relative_url(name: &str) -> String {
    let mut url = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' => url.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => url.push(char::from(byte)),
            byte => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url
}

/// Where a file is that metadata names by its path: below the repository, or relative to the
/// document when it is not known where the repository is.
pub(crate) fn located(repository: Option<&str>, path: &str) -> String {
    if path.contains("://") {
        return path.to_owned();
    }
    let path: Vec<String> = path.split('/').map(relative_url).collect();
    let path = path.join("/");
    match repository {
        Some(repository) => format!("{}/{path}", repository.trim_end_matches('/')),
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_urls_are_canonical() {
        let made =
            |ecosystem, namespace, name, version| purl(ecosystem, namespace, name, version, &[]);
        let table = [
            (
                made("rpm", Some("Fedora"), "gtk+", Some("1.0~rc1^git+1-2")),
                "pkg:rpm/fedora/gtk%2B@1.0~rc1%5Egit%2B1-2",
            ),
            (
                made(
                    "golang",
                    Some("github.com/Azure"),
                    "Go-Autorest",
                    Some("v1.0.0+incompatible"),
                ),
                "pkg:golang/github.com/azure/go-autorest@v1.0.0%2Bincompatible",
            ),
            (
                made("npm", Some("@types"), "node", Some("1.0")),
                "pkg:npm/%40types/node@1.0",
            ),
            (
                made("pypi", None, "Foo_Bar", Some("1")),
                "pkg:pypi/foo-bar@1",
            ),
            (
                made("cargo", None, "serde", Some("1.0.0")),
                "pkg:cargo/serde@1.0.0",
            ),
        ];
        for (found, wanted) in table {
            assert_eq!(found.as_deref(), Some(wanted));
        }
        assert_eq!(made("cargo", None, "", None), None);
        assert_eq!(made("cargo", Some("x"), "serde", None), None);
    }

    /// The cases of the specification's own test suite, as a package of Node carries it
    /// (`tests/lab/make-node.sh` fetches that).
    #[test]
    fn every_case_of_the_specification_comes_out_canonical() {
        let cache = std::env::var_os("HALLMARK_CACHE");
        let cache = cache.map_or_else(|| "/var/cache/hallmark".into(), std::path::PathBuf::from);
        let path = cache.join("node/node_modules/packageurl-js/test/data/test-suite-data.json");
        let Ok(text) = std::fs::read(&path) else {
            assert!(
                std::env::var_os("CI").is_none(),
                "CI has no package URL cases: run tests/lab/make-node.sh"
            );
            let name = "every_case_of_the_specification_comes_out_canonical";
            eprintln!("SKIP {name}: no {}", path.display());
            return;
        };
        let cases: Vec<serde_json::Value> = serde_json::from_slice(&text).unwrap();
        let mut kinds = std::collections::BTreeMap::new();
        for case in cases.iter().filter(|case| case["is_invalid"] == false) {
            let text = |field: &str| case[field].as_str();
            let (Some(kind), Some(name)) = (text("type"), text("name")) else {
                continue;
            };
            // What is written here: never a subpath, and these types.
            let known = [
                "rpm", "cargo", "npm", "pypi", "gem", "maven", "golang", "generic",
            ];
            if !known.contains(&kind) || text("subpath").is_some() {
                continue;
            }
            let qualifiers: Vec<(&str, &str)> = case["qualifiers"]
                .as_object()
                .into_iter()
                .flatten()
                .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
                .collect();
            // This edition of the suite leaves `/` in values as it is, later ones escape it.
            if qualifiers.iter().any(|(_, value)| value.contains('/')) {
                continue;
            }
            let found = purl(kind, text("namespace"), name, text("version"), &qualifiers);
            assert_eq!(found.as_deref(), text("canonical_purl"), "{case}");
            *kinds.entry(kind).or_insert(0) += 1;
        }
        assert!(kinds.contains_key("rpm") && kinds.len() >= 6, "{kinds:?}");
    }

    /// Every case that the specification has of an RPM (`tests/types/rpm-test.json` of purl-spec: five texts to
    /// build or to write again, five to find valid or not): what is written here is what it wants, and
    /// what it finds wanting cannot be written. `sbom_index/purl.rs` of the server reads the same cases.
    #[test]
    fn package_urls_of_rpms_are_built_as_the_specification_builds_them() {
        type Case<'a> = (
            Option<&'a str>,
            &'a str,
            Option<&'a str>,
            &'a [(&'a str, &'a str)],
            &'a str,
        );
        let table: &[Case<'_>] = &[
            // Whatever case type and keys are written in.
            (
                Some("fedora"),
                "curl",
                Some("7.50.3-1.fc25"),
                &[("Arch", "i386"), ("Distro", "fedora-25")],
                "pkg:rpm/fedora/curl@7.50.3-1.fc25?arch=i386&distro=fedora-25",
            ),
            (
                Some("fedora"),
                "curl",
                Some("7.50.3-1.fc25"),
                &[("distro", "fedora-25"), ("arch", "i386")],
                "pkg:rpm/fedora/curl@7.50.3-1.fc25?arch=i386&distro=fedora-25",
            ),
            (
                None,
                "centerim",
                Some("4.22.10-1.el6"),
                &[("arch", "i686"), ("epoch", "1"), ("distro", "fedora-25")],
                "pkg:rpm/centerim@4.22.10-1.el6?arch=i686&distro=fedora-25&epoch=1",
            ),
            (
                Some("fedora"),
                "curl",
                Some("7.50.3-1.fc25"),
                &[("arch", "i386")],
                "pkg:rpm/fedora/curl@7.50.3-1.fc25?arch=i386",
            ),
            (
                Some("fedora"),
                "centerim",
                Some("4.22.10-1.el6"),
                &[("arch", "i686"), ("distro", "fedora-25"), ("epoch", "1")],
                "pkg:rpm/fedora/centerim@4.22.10-1.el6?arch=i686&distro=fedora-25&epoch=1",
            ),
            (
                Some("opensuse"),
                "zsh",
                None,
                &[("arch", "x86_64"), ("distro", "opensuse-15.3")],
                "pkg:rpm/opensuse/zsh?arch=x86_64&distro=opensuse-15.3",
            ),
            // The slashes may be escaped or not.
            (
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
                "pkg:rpm/centos/vim@8.0-1.el7?arch=x86_64&repository_url=https:%2F%2Fmirror.centos.org%2Fcentos%2F7%2Fos%2Fx86_64",
            ),
        ];
        for (namespace, name, version, qualifiers, wanted) in table {
            let found = purl("rpm", *namespace, name, *version, qualifiers);
            assert_eq!(found.as_deref(), Some(*wanted));
        }
        // Without a vendor an RPM's is not valid: no package gets one.
        let curl = "curl-7.50.3-1.fc25.i386".parse().unwrap();
        for nobody in ["", " "] {
            assert_eq!(of_nevra(nobody, &curl, false, None, None), None);
        }
    }

    /// What the type's definition says of rpm, which the suite has a single case of: the namespace is
    /// lower-cased, the name is not; epoch, arch and module are qualifiers.
    #[test]
    fn identities_of_packages_follow_the_definition_of_the_type() {
        let table = [
            (
                "Fedora",
                "curl-7.50.3-1.fc25.i386",
                false,
                None,
                "pkg:rpm/fedora/curl@7.50.3-1.fc25?arch=i386",
            ),
            (
                "fedora",
                "Cython-0:1-2.noarch",
                false,
                None,
                "pkg:rpm/fedora/Cython@1-2?arch=noarch",
            ),
            (
                "fedora",
                "a-2:1~rc1^git-3.x86_64",
                false,
                None,
                "pkg:rpm/fedora/a@1~rc1%5Egit-3?arch=x86_64&epoch=2",
            ),
            (
                "fedora",
                "a-1-2.nosrc",
                true,
                None,
                "pkg:rpm/fedora/a@1-2?arch=src",
            ),
            (
                "fedora",
                "a-1-2.x86_64",
                true,
                None,
                "pkg:rpm/fedora/a@1-2?arch=src",
            ),
            (
                "suse",
                "libstdc++6-13-1.x86_64",
                false,
                None,
                "pkg:rpm/suse/libstdc%2B%2B6@13-1?arch=x86_64",
            ),
            (
                "rhel",
                "a-1-2.x86_64",
                false,
                Some("n:s:v:c"),
                "pkg:rpm/rhel/a@1-2?arch=x86_64&rpmmod=n:s:v:c",
            ),
        ];
        for (namespace, nevra, is_source, module, wanted) in table {
            let nevra = nevra.parse().unwrap();
            let found = of_nevra(namespace, &nevra, is_source, module, None);
            assert_eq!(found.as_deref(), Some(wanted));
        }
    }
}
