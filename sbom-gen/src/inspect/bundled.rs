//! `bundled(...)` provides: what the packager declares to have copied in.
//!
//! `bundled(golang(golang.org/x/net)) = 0.30.0`, `bundled(crate(serde))`, `bundled(npm(@a/b))`,
//! `bundled(python3dist(pip))`, `bundled(rubygem-rack)`, `bundled(mvn(group:artifact))` and plain
//! names such as `bundled(zlib) = 1.3`.

use super::{Evidence, Technique};
use crate::component::Component;
use repo_model::rpm::{Dependency, Package};

/// One component for each declaration, in header order.
pub(super) fn components(package: &Package) -> impl Iterator<Item = Component> {
    package.provides.iter().filter_map(component)
}

fn component(provide: &Dependency) -> Option<Component> {
    let inner = provide.name.strip_prefix("bundled(")?.strip_suffix(')')?;
    let version = provide
        .version
        .as_ref()
        .map(|(_, version)| version.as_str());
    let evidence = Evidence {
        source: SOURCE,
        path: None,
        technique: Technique::ManifestAnalysis,
        confidence_percent: 80,
    };
    let mut component = match ecosystem(inner) {
        ("golang", name) => super::go::component(name, version, evidence),
        ("npm", name) => super::npm::component(name, version, evidence),
        ("pypi", name) => Component::new(
            "pypi",
            None,
            &super::python::normalised(name),
            version,
            evidence,
        ),
        ("maven", name) => {
            let (group, artifact) = name.split_once(':')?;
            Component::new("maven", Some(group), artifact, version, evidence)
        }
        (ecosystem, name) => Component::new(ecosystem, None, name, version, evidence),
    }?;
    component.property("rpm:provides", spelled(provide));
    Some(component)
}

/// Name of the evidence.
pub(crate) const SOURCE: &str = "bundled-provide";

fn ecosystem(inner: &str) -> (&'static str, &str) {
    let wrapped = inner
        .strip_suffix(')')
        .and_then(|inner| inner.split_once('('));
    match wrapped {
        Some(("golang", name)) => ("golang", name),
        Some(("crate", name)) => ("cargo", name.split('/').next().unwrap_or(name)),
        Some(("npm", name)) => ("npm", name),
        Some(("mvn", name)) => ("maven", name),
        Some(("rubygem", name)) => ("gem", name),
        // python3dist(x), python3.12dist(x)
        Some((kind, name)) if kind.starts_with("python") && kind.ends_with("dist") => {
            ("pypi", name.split('[').next().unwrap_or(name))
        }
        _ => match inner.strip_prefix("rubygem-") {
            Some(name) => ("gem", name),
            None => ("generic", inner),
        },
    }
}

fn spelled(provide: &Dependency) -> String {
    match &provide.version {
        Some((_, version)) => format!("{} = {version}", provide.name),
        None => provide.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_model::rpm::DependencyFlags;

    #[test]
    fn bundled_provides_become_package_urls_of_their_ecosystem() {
        let table = [
            (
                "bundled(golang(golang.org/x/net))",
                "0.30.0",
                Some("pkg:golang/golang.org/x/net@v0.30.0"),
            ),
            (
                "bundled(crate(serde/default))",
                "1.0.1",
                Some("pkg:cargo/serde@1.0.1"),
            ),
            (
                "bundled(npm(@types/node))",
                "20.1",
                Some("pkg:npm/%40types/node@20.1"),
            ),
            (
                "bundled(python3.12dist(Foo.Bar))",
                "2",
                Some("pkg:pypi/foo-bar@2"),
            ),
            ("bundled(rubygem-rack)", "3.0", Some("pkg:gem/rack@3.0")),
            (
                "bundled(mvn(org.slf4j:slf4j-api))",
                "2.0",
                Some("pkg:maven/org.slf4j/slf4j-api@2.0"),
            ),
            ("bundled(zlib)", "1.3", Some("pkg:generic/zlib@1.3")),
            ("bundled(zlib)", "", Some("pkg:generic/zlib")),
            ("bundled()", "1", None),
            ("zlib", "1.3", None),
        ];
        for (name, version, wanted) in table {
            let version = (!version.is_empty()).then(|| (DependencyFlags::Eq, version.to_owned()));
            let provide = Dependency {
                name: name.to_owned(),
                version,
                sense: 8,
            };
            let found = component(&provide).map(|component| component.purl);
            assert_eq!(found.as_deref(), wanted, "{name}");
        }
    }
}
