//! Packages of the published tree and the documents beside them.

use super::{Place, horizon};
use crate::app::App;
use crate::beside;
use crate::db::build_sboms::{BuildSbomsRow, Builds};
use crate::db::builds::PackageRow;
use crate::db::{self, DbError};
use crate::http::content::{Caching, Object};
use crate::http::error::ApiError;
use crate::publish::sbom_listing;
use percent_encoding::utf8_percent_encode;
use sbom_gen::SBOM_FORMATS;

/// A package, or a document beside it: `foo.rpm.asc`, `foo.rpm.cdx.json`, `foo.rpm.sigstore.json`.
///
/// With a package comes the `Link` header that leads to its documents.
pub(super) async fn package_file(
    app: &App,
    place: &Place,
) -> Result<(Object, Option<String>), ApiError> {
    let not_found =
        || ApiError::not_found(format!("there is no {} in this repository", place.rest));
    let end = place.rest.find(".rpm").ok_or_else(not_found)? + ".rpm".len();
    let (href, suffix) = place.rest.split_at(end);
    let (wanted, href) = (place.clone(), href.to_owned());
    let document = match suffix {
        "" => None,
        suffix => Some(beside::of_suffix(suffix).ok_or_else(not_found)?),
    };
    let found = app
        .db
        .read(move |connection| {
            let Some(newest) = horizon(connection, &wanted.root)? else {
                return Ok(None);
            };
            let (repo, arch) = (&wanted.repo, &wanted.arch);
            let Some(package) = db::releases::package_at(connection, repo, arch, &href, newest)?
            else {
                return Ok(None);
            };
            let (digest, sboms) = match document {
                None => {
                    let (build, id) = (package.build_id, package.package_id);
                    let sboms = db::evidence::sboms_of(connection, build, id)?;
                    let build = Builds::Numbered(vec![build]);
                    let build = db::build_sboms::build_sboms(connection, &build)?.pop();
                    (None, (sboms, build))
                }
                Some((kind, label)) => {
                    match db::evidence::newest(connection, package.package_id, kind, label)? {
                        Some(digest) => (Some(digest), (Vec::new(), None)),
                        None => return Ok(None),
                    }
                }
            };
            Ok::<_, DbError>(Some((package, digest, sboms)))
        })
        .await?;
    let (package, document, (sboms, build)) = found.ok_or_else(not_found)?;
    match document {
        Some(digest) => {
            let media_type = beside::media_type(suffix);
            let object = Object::find(app, digest, media_type, Caching::Immutable).await?;
            Ok((object, None))
        }
        None => {
            let object = signed_file(&package).ok_or_else(not_found)?;
            Ok((object, Some(links(&package, &sboms, build.as_ref()))))
        }
    }
}

/// `Link`: the SBOMs (`rel="sbom"`, the preferred format first), the signer's summary of the evidence and the
/// preferred document about the whole build (`rel="describedby"`), relative to the package.
fn links(package: &PackageRow, sboms: &[String], build: Option<&BuildSbomsRow>) -> String {
    let name = package.href.rsplit('/').next().unwrap_or_default();
    let name = utf8_percent_encode(name, sbom_listing::PATH);
    let mut links: Vec<String> = SBOM_FORMATS
        .iter()
        .filter(|format| sboms.iter().any(|label| label == format.name))
        .map(|format| {
            let (suffix, media_type) = (format.file_suffix, format.media_type);
            format!("<{name}{suffix}>; rel=\"sbom\"; type=\"{media_type}\"")
        })
        .collect();
    links.push(format!(
        "<{name}.vsa.json>; rel=\"describedby\"; type=\"application/json\""
    ));
    let about_build = build.and_then(|build| sbom_listing::build_documents(build).next());
    links.extend(about_build.map(|(format, _, name)| {
        let up = "../".repeat(package.href.matches('/').count());
        let (name, media_type) = (
            utf8_percent_encode(&name, sbom_listing::PATH),
            format.media_type,
        );
        format!("<{up}sbom/{name}>; rel=\"describedby\"; type=\"{media_type}\"")
    }));
    links.join(", ")
}

fn signed_file(package: &PackageRow) -> Option<Object> {
    let signed = package.signed.as_ref()?;
    Some(Object {
        digest: signed.file,
        size_bytes: signed.size_bytes,
        media_type: "application/x-rpm".to_owned(),
        caching: Caching::Immutable,
        modified: package.added_at,
    })
}
