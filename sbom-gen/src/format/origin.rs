//! Where a part comes from: the page of its project in the registry that its package URL belongs to.

use super::web_url;
use crate::graph::Node;

/// Registries by type of package URL, and what precedes a full name in the address.
static REGISTRIES: &[(&str, &str)] = &[
    ("cargo", "https://crates.io/crates/"),
    ("composer", "https://packagist.org/packages/"),
    ("gem", "https://rubygems.org/gems/"),
    ("golang", "https://pkg.go.dev/"),
    ("maven", "https://central.sonatype.com/artifact/"),
    ("npm", "https://www.npmjs.com/package/"),
    ("pypi", "https://pypi.org/project/"),
];

/// The project's page; `None` for a part of no registry, or with a name that makes no address.
pub(super) fn page(node: &Node<'_>) -> Option<String> {
    let kind = node
        .purl
        .as_deref()?
        .strip_prefix("pkg:")?
        .split('/')
        .next()?;
    let (_, base) = REGISTRIES.iter().find(|(registry, _)| *registry == kind)?;
    // Go's standard library is a module of its own there.
    let page = match node.group {
        Some(group) => format!("{base}{group}/{}", node.name),
        None => format!("{base}{}", node.name),
    };
    web_url(&page)?;
    Some(page)
}

#[cfg(test)]
mod tests {
    use super::REGISTRIES;

    #[test]
    fn registries_are_in_order() {
        assert!(REGISTRIES.is_sorted());
    }
}
