//! Directory listings of the published tree.

use super::error::ApiError;
use super::pages::{html, site};
use super::tree::Place;
use crate::app::App;
use crate::db::builds::PackageRow;
use crate::db::releases::ReleaseRepoRow;
use crate::db::{self, DbError};
use axum::response::Response;
use repo_model::{FileDigest, ReleaseId};
use std::collections::BTreeSet;
use web::{EntryKind, ListingEntry, ListingView};

/// Largest repomd.xml that is read for a listing, bytes.
const MAX_REPOMD_BYTES: u64 = 4 << 20;

struct Entry {
    name: String,
    size_bytes: Option<u64>,
    digest: Option<FileDigest>,
}

impl Entry {
    /// A name without more: a directory, or a file that is made when it is asked for.
    fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            size_bytes: None,
            digest: None,
        }
    }
}

/// Lists the base, `repodata/`, `Packages/` or one of its letters.
pub async fn serve(
    app: &App,
    place: &Place,
    release: ReleaseId,
    repo: &ReleaseRepoRow,
) -> Result<Response, ApiError> {
    let entries = match place.rest.trim_end_matches('/') {
        "" => {
            let link = Entry {
                name: "metalink.xml".to_owned(),
                size_bytes: None,
                digest: None,
            };
            vec![
                Entry::named("Packages"),
                Entry::named("repodata"),
                Entry::named("sbom"),
                link,
            ]
        }
        "sbom" => {
            let names = super::sbom_files::names(app, release, repo).await?;
            let entries = names.into_iter().map(|(name, size_bytes)| Entry {
                name,
                size_bytes,
                digest: None,
            });
            entries.collect()
        }
        "repodata" => metadata_files(app, place, release, repo).await?,
        "Packages" => letters(&packages(app, place, release).await?),
        rest => files(rest, &packages(app, place, release).await?)
            .ok_or_else(|| ApiError::not_found(format!("there is no directory {rest} here")))?,
    };
    let entries: Vec<ListingEntry<'_>> = entries
        .iter()
        .map(|entry| ListingEntry {
            name: &entry.name,
            kind: match entry.name.as_str() {
                "Packages" | "repodata" | "sbom" => EntryKind::Directory,
                _ if place.rest.starts_with("Packages") && entry.digest.is_none() => {
                    EntryKind::Directory
                }
                _ => EntryKind::File,
            },
            size_bytes: entry.size_bytes,
            digest: entry.digest,
        })
        .collect();
    let base = place.base();
    let path = format!("{base}{}", place.rest);
    html(web::listing(&ListingView {
        site: &site(app),
        path: &path,
        top: &base,
        entries: &entries,
    }))
}

async fn packages(
    app: &App,
    place: &Place,
    release: ReleaseId,
) -> Result<Vec<PackageRow>, DbError> {
    let (repo, arch) = (place.repo.clone(), place.arch.clone());
    app.db
        .read(move |connection| db::releases::members(connection, release, &repo, &arch))
        .await
}

fn letters(packages: &[PackageRow]) -> Vec<Entry> {
    let letters: BTreeSet<&str> = packages
        .iter()
        .filter_map(|p| p.href.split('/').nth(1))
        .collect();
    letters.into_iter().map(Entry::named).collect()
}

fn files(directory: &str, packages: &[PackageRow]) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    for package in packages {
        let Some((parent, name)) = package.href.rsplit_once('/') else {
            continue;
        };
        let Some(signed) = package.signed.as_ref().filter(|_| parent == directory) else {
            continue;
        };
        entries.push(Entry {
            name: name.to_owned(),
            size_bytes: Some(signed.size_bytes),
            digest: Some(signed.file),
        });
        entries.push(Entry {
            name: format!("{name}.asc"),
            size_bytes: None,
            digest: Some(signed.detached_signature),
        });
        entries.push(Entry {
            name: format!("{name}.vsa.json"),
            size_bytes: None,
            digest: Some(signed.summary_statement),
        });
    }
    (!entries.is_empty()).then_some(entries)
}

async fn metadata_files(
    app: &App,
    place: &Place,
    release: ReleaseId,
    repo: &ReleaseRepoRow,
) -> Result<Vec<Entry>, ApiError> {
    let repomd = app.store.get(repo.repomd, MAX_REPOMD_BYTES).await?;
    let mut entries = vec![
        Entry {
            name: "repomd.xml".to_owned(),
            size_bytes: Some(repomd.len() as u64),
            digest: Some(repo.repomd),
        },
        Entry {
            name: "repomd.xml.asc".to_owned(),
            size_bytes: app.store.size_bytes(repo.repomd_signature).await?,
            digest: Some(repo.repomd_signature),
        },
    ];
    let (of, arch) = (place.repo.clone(), place.arch.clone());
    let manifest = app
        .db
        .read(move |connection| db::manifests::of_repo(connection, release, &of, &arch))
        .await?;
    if let Some(row) = manifest {
        for (ending, digest) in [("", row.manifest), (".asc", row.signature)] {
            entries.push(Entry {
                name: format!("SHA256SUMS{ending}"),
                size_bytes: app.store.size_bytes(digest).await?,
                digest: Some(digest),
            });
        }
    }
    for name in hrefs(&String::from_utf8_lossy(&repomd)) {
        let (repo, arch, full) = (place.repo.clone(), place.arch.clone(), name.clone());
        let file = app
            .db
            .read(move |connection| {
                db::releases::repodata_file(connection, &repo, &arch, &full, release)
            })
            .await?;
        entries.extend(file.map(|file| Entry {
            name: name.trim_start_matches("repodata/").to_owned(),
            size_bytes: Some(file.size_bytes),
            digest: Some(file.file),
        }));
    }
    Ok(entries)
}

/// The files that our own repomd.xml names.
fn hrefs(repomd: &str) -> Vec<String> {
    repomd
        .split("<location href=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .map(str::to_owned)
        .collect()
}
