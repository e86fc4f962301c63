//! Package URLs in canonical form (purl-spec; types `rpm`, `golang`, `cargo`, `pypi`, `npm`).

use packageurl::PackageUrl;
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
    let evr = &package.nevra.evr;
    let epoch = evr.epoch.to_string();
    // The type's definition names one arch for source packages, `nosrc` ones included.
    let arch = if package.is_source {
        "src"
    } else {
        package.nevra.arch.as_str()
    };
    let mut qualifiers = vec![("arch", arch)];
    if evr.epoch != 0 {
        qualifiers.push(("epoch", &epoch));
    }
    if let Some(module) = &package.modularity_label {
        qualifiers.push(("rpmmod", module));
    }
    let version = format!("{}-{}", evr.version, evr.release);
    purl(
        "rpm",
        Some(namespace),
        &package.nevra.name,
        Some(&version),
        &qualifiers,
    )
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
}
