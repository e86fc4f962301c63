//! `hallmark evidence`: the SBOMs and statements about a build's packages.

use super::status;
use crate::api::{Client, ServerArgs};
use crate::failure::Failure;
use crate::output;
use crate::progress::Progress;
use crate::verify::{PackError, Server, SourceError, failure, pack_packages, pack_release};
use repo_model::wire::status::{BuildStatus, EvidenceLink, PackageStatus};
use repo_model::{FileDigest, Nevra};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// Arguments of `hallmark evidence`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # What there is about one package
  hallmark evidence hello-2.12-1.x86_64

  # All documents of a build as files, each checked against its digest; prints their paths
  hallmark evidence 17 -o evidence/

  # All that is needed to verify release 4 years later, in one file; then without any server
  hallmark evidence 4 -o release-4.tar.zst
  hallmark verify --trust trust/ release-4.tar.zst")]
pub struct Args {
    /// Name or NEVRA of a package, or the number of a build; of a release for a pack
    package: String,
    /// Download the documents into this folder; a name that ends in .tar.zst: make an evidence pack
    #[arg(short, long, value_name = "DIR|PACK")]
    output: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// One document, as it is listed.
#[derive(Debug, Serialize)]
struct Document<'a> {
    build: u64,
    package: &'a Nevra,
    kind: &'a str,
    label: &'a str,
    digest: FileDigest,
    url: String,
}

/// A document cannot be had.
#[derive(Debug, thiserror::Error)]
enum DownloadError {
    #[error(transparent)]
    Api(#[from] crate::api::ApiError),
    #[error("the server sent {found} for {wanted}")]
    Digest {
        wanted: FileDigest,
        found: FileDigest,
    },
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let client = args.server.client()?;
    let pack = |path: &&PathBuf| path.to_string_lossy().ends_with(".tar.zst");
    if let Some(path) = args.output.as_ref().filter(pack) {
        return make_pack(client, &args.package, path);
    }
    let builds = status::find(&client, &args.package, None, 100)?;
    let found: Vec<_> = builds
        .iter()
        .flat_map(|build| of_build(build, &args.package))
        .collect();
    if let Some(folder) = &args.output {
        let files = download(&client, &found, folder)?;
        if !args.json {
            return files
                .iter()
                .try_for_each(|file| output::line(file.display()));
        }
    }
    let documents: Vec<_> = found
        .iter()
        .map(|found| Document {
            build: found.build,
            package: found.about,
            kind: &found.link.kind,
            label: &found.link.label,
            digest: found.link.digest,
            url: client.url(&format!("/evidence/sha256/{}", found.link.digest)),
        })
        .collect();
    if args.json {
        return output::json(&documents);
    }
    let rows: Vec<_> = documents
        .iter()
        .map(|d| {
            vec![
                d.package.to_string(),
                d.kind.to_owned(),
                d.label.to_owned(),
                d.url.clone(),
            ]
        })
        .collect();
    output::raw(output::table(&rows).as_bytes())
}

/// An evidence pack of a release, or of one package.
fn make_pack(client: Client, wanted: &str, path: &Path) -> Result<(), Failure> {
    let source = Server(client);
    let failed = |error: PackError| match error {
        PackError::Source(SourceError::Asked(error)) => failure(error),
        other => Failure::failed(other),
    };
    if let Ok(nevra) = wanted.parse::<Nevra>() {
        return pack_packages(&source, &[nevra], path).map_err(failed);
    }
    let release = match wanted {
        "newest" => None,
        number => Some(number.parse().map_err(|_| {
            Failure::usage(format!("`{number}` is neither a release nor a NEVRA"))
                .with_hint("a pack is made of a release's number, `newest`, or hello-2.12-1.x86_64")
        })?),
    };
    let progress = Progress::spinner();
    let mut packed = 0_u64;
    let mut done = |all: u64| {
        packed += 1;
        progress.message(format!("{packed} of {all} packages"));
    };
    let count = pack_release(&source, release, path, &mut done).map_err(failed)?;
    output::note(format!("{}: {count} packages", path.display()));
    Ok(())
}

/// One document, what it is about, and the build it belongs to.
struct Found<'a> {
    build: u64,
    about: &'a Nevra,
    link: EvidenceLink,
}

/// The evidence about the packages that `wanted` names, or about all when it names the source
/// package or the build; and always what the whole build rests on.
fn of_build<'a>(build: &'a BuildStatus, wanted: &str) -> Vec<Found<'a>> {
    let is_named = |package: &PackageStatus| {
        package.nevra.name == wanted || package.nevra.to_string() == wanted
    };
    let source = build.source.name == wanted || build.source.to_string() == wanted;
    let some = !source && build.packages.iter().any(is_named);
    let packages = build
        .packages
        .iter()
        .filter(|package| !some || is_named(package));
    let whole = [
        ("source", Some(build.source_file)),
        ("buildinfo", Some(build.buildinfo)),
        ("provenance", build.provenance),
    ];
    let whole = whole.into_iter().filter_map(|(kind, digest)| {
        let link = EvidenceLink {
            kind: kind.to_owned(),
            label: String::new(),
            digest: digest?,
        };
        Some(Found {
            build: build.build,
            about: &build.source,
            link,
        })
    });
    let of_packages = packages.flat_map(|package| {
        let found = |link: &EvidenceLink| Found {
            build: build.build,
            about: &package.nevra,
            link: link.clone(),
        };
        package.evidence.iter().map(found)
    });
    whole.chain(of_packages).collect()
}

/// Downloads each into a folder named after what it is about; one that is there already is kept. Returns the files, in
/// the order of `found`.
fn download(client: &Client, found: &[Found<'_>], folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let progress = Progress::items(found.len() as u64);
    let mut files = Vec::with_capacity(found.len());
    for Found { about, link, .. } in found {
        let folder = folder.join(about.file_name());
        std::fs::create_dir_all(&folder).map_err(|error| {
            Failure::failed(format!("cannot make {}: {error}", folder.display()))
        })?;
        let path = folder.join(file_name(link));
        progress.message(path.display());
        // The name holds the digest's start and is given only to checked files.
        if !path.exists() {
            fetch(client, link.digest, &path).map_err(|error| match error {
                DownloadError::Api(error) => Failure::from(error),
                other => Failure::failed(other),
            })?;
        }
        progress.add(1);
        files.push(path);
    }
    Ok(files)
}

/// `rebuild-rebuilder-a.json`; kind and label come from the server and are cut to safe characters.
fn file_name(link: &EvidenceLink) -> String {
    let end = match link.kind.as_str() {
        "detached-signature" => "asc",
        "source" => "src.rpm",
        "attachment" => "log",
        _ => "json",
    };
    let safe = |text: &str| -> String {
        let ok = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        text.chars()
            .map(|c| if ok(c) { c } else { '-' })
            .take(80)
            .collect()
    };
    let label = safe(&link.label);
    let start = &link.digest.to_hex()[..8];
    if label.is_empty() {
        return format!("{}-{start}.{end}", safe(&link.kind));
    }
    format!("{}-{label}-{start}.{end}", safe(&link.kind))
}

fn fetch(client: &Client, digest: FileDigest, path: &Path) -> Result<(), DownloadError> {
    let fail = |source| DownloadError::Write {
        path: path.to_owned(),
        source,
    };
    let mut answer = client.get(&format!("/evidence/sha256/{digest}"))?;
    let mut body = answer.body_mut().as_reader();
    let unfinished = path.with_extension("part");
    let mut file = File::create(&unfinished).map_err(fail)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = body.read(&mut buffer).map_err(fail)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        file.write_all(&buffer[..count]).map_err(fail)?;
    }
    let found = FileDigest::from_bytes(hasher.finalize().into());
    if found != digest {
        let _ = std::fs::remove_file(&unfinished);
        return Err(DownloadError::Digest {
            wanted: digest,
            found,
        });
    }
    std::fs::rename(&unfinished, path).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Answer, Server};

    #[test]
    fn a_document_that_is_not_what_its_digest_says_is_not_kept() {
        let server = Server::start(|_| Answer::json(200, "forged"));
        let client = Client::new(&server.url(), None).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        assert!(matches!(
            fetch(&client, FileDigest::of(b"real"), &path),
            Err(DownloadError::Digest { .. })
        ));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        fetch(&client, FileDigest::of(b"forged"), &path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"forged");
    }

    #[test]
    fn the_files_that_were_saved_are_told_and_those_that_were_there_too() {
        let server = Server::start(|_| Answer::json(200, "real"));
        let client = Client::new(&server.url(), None).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let about: Nevra = "a-1-1.x86_64".parse().unwrap();
        let link = EvidenceLink {
            kind: "rebuild".to_owned(),
            label: "rb-a".to_owned(),
            digest: FileDigest::of(b"real"),
        };
        let found = [Found {
            build: 7,
            about: &about,
            link,
        }];
        for _ in 0..2 {
            let files = download(&client, &found, dir.path()).unwrap();
            assert_eq!(files.len(), 1);
            assert_eq!(std::fs::read(&files[0]).unwrap(), b"real");
        }
    }

    #[test]
    fn names_from_the_server_cannot_leave_the_folder() {
        let link = EvidenceLink {
            kind: "../x".to_owned(),
            label: "a/b".to_owned(),
            digest: "0".repeat(64).parse().unwrap(),
        };
        assert_eq!(file_name(&link), "..-x-a-b-00000000.json");
    }

    #[test]
    fn a_package_comes_with_its_own_evidence_and_what_the_build_rests_on() {
        let digest = "0".repeat(64);
        let package = |nevra: &str| {
            serde_json::json!({"nevra": nevra, "header": digest, "unsigned_file": digest, "signed_file": null,
                "href": "", "size_bytes": 1, "summary": "",
                "evidence": [{"kind": "sbom", "label": nevra, "digest": digest}]})
        };
        let build: BuildStatus = serde_json::from_value(serde_json::json!({
            "build": 7, "repo": "base", "source": "a-1-1.src", "source_file": digest, "buildinfo": digest,
            "provenance": null, "stage": "received", "received_at": "2026-11-20T10:06:00Z",
            "changed_at": "2026-11-20T10:07:00Z", "packages": [package("a-1-1.x86_64"), package("b-1-1.x86_64")],
            "rebuilds": [], "jobs": []
        }))
        .unwrap();
        let kinds = |wanted: &str| {
            let found = of_build(&build, wanted);
            found
                .iter()
                .map(|found| format!("{} {}", found.link.kind, found.link.label))
                .collect::<Vec<_>>()
        };
        assert_eq!(kinds("b"), ["source ", "buildinfo ", "sbom b-1-1.x86_64"]);
        for all in ["a", "7", "a-1-1.src"] {
            assert_eq!(kinds(all).len(), 4, "{all}");
        }
    }
}
