//! The few files the pages need. Each is served under a name that holds its digest, so it can be
//! cached for ever.

use repo_model::FileDigest;
use std::sync::LazyLock;

/// A file to serve with `Cache-Control: immutable`.
#[derive(Debug)]
pub struct Asset {
    /// Path on the server: `/assets/style-0123abcd.css`.
    pub path: String,
    /// `Content-Type`.
    pub media_type: &'static str,
    /// The content.
    pub bytes: &'static [u8],
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        asset(
            "style",
            "css",
            "text/css; charset=utf-8",
            include_bytes!("../assets/style.css"),
        ),
        asset(
            "copy",
            "js",
            "text/javascript; charset=utf-8",
            include_bytes!("../assets/copy.js"),
        ),
        asset(
            "logo",
            "svg",
            "image/svg+xml",
            include_bytes!("../assets/logo.svg"),
        ),
    ]
});

fn asset(name: &str, extension: &str, media_type: &'static str, bytes: &'static [u8]) -> Asset {
    let digest = FileDigest::of(bytes).to_hex();
    Asset {
        path: format!("/assets/{name}-{}.{extension}", &digest[..8]),
        media_type,
        bytes,
    }
}

/// Every file that pages refer to.
pub fn assets() -> &'static [Asset] {
    ASSETS.as_slice()
}

/// Path of the stylesheet.
pub(crate) fn style() -> &'static str {
    &ASSETS[0].path
}

/// Path of the script.
pub(crate) fn script() -> &'static str {
    &ASSETS[1].path
}

/// Path of the logo.
pub(crate) fn logo() -> &'static str {
    &ASSETS[2].path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_in_a_column_has_no_basis_that_would_be_its_height() {
        let css = include_str!("../assets/style.css");
        assert!(css.contains(".sheet { flex-direction: column;"));
        assert!(css.contains("\n.sheet input { flex: none; }"));
    }

    #[test]
    fn assets_are_named_by_their_content_and_ask_for_nothing_else() {
        for (path, extension) in [(style(), ".css"), (script(), ".js"), (logo(), ".svg")] {
            assert!(
                path.starts_with("/assets/") && path.ends_with(extension),
                "{path}"
            );
        }
        for asset in assets() {
            let hex = FileDigest::of(asset.bytes).to_hex();
            assert!(asset.path.contains(&hex[..8]), "{}", asset.path);
            let text = std::str::from_utf8(asset.bytes).unwrap();
            for foreign in ["@import", "url(", "https://", "//cdn", "eval("] {
                assert!(!text.contains(foreign), "{} has {foreign}", asset.path);
            }
        }
    }
}
