//! Proofs beside packages (`foo.rpm.tlog-proof`, `foo.rpm.sigstore.json`), for who verifies without the origin: a copy
//! of a repository of ours has them, too. They are not in the metadata, so they are asked for by name once the copy
//! is whole, and only where the first package's is there: repositories of others are asked for one name more.
//!
//! They are not believed here, only handed on, but must be what they say they are: proofs that read, and of the very
//! file that is here. What cannot be had is left out and asked for again when the repository changes.

use super::claim::Claim;
use super::finish::save;
use super::peer::{Peer, Problem};
use super::request::{Request, Watch};
use super::site::Site;
use super::state::{Row, State};
use super::workers::each;
use super::{SyncError, tree};
use repo_model::FileDigest;
use repo_model::bundle::{self, Bundle};
use repo_model::log::LogProof;
use repo_model::statement::{PACKAGE_RELEASE, PackageRelease, Statement};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// What lies beside each package, behind its name; the first is there where any is.
const SUFFIXES: [&str; 4] = [
    ".tlog-proof",
    ".sigstore.json",
    ".vsa.tlog-proof",
    ".vsa.sigstore.json",
];

/// A proof that is still to be had.
struct Wanted {
    path: Box<str>,
    /// The package's own file.
    package: FileDigest,
}

/// Fetches the proofs that the copy lacks, and counts them to its files; how many came.
pub(super) fn fetch(
    site: &mut Site,
    request: &Request,
    peers: &[Peer],
    watch: &dyn Watch,
) -> Result<u64, SyncError> {
    let wanted = missing(site);
    if !are_there(peers, &wanted) {
        return Ok(0);
    }
    watch.step("proofs");
    let came = each(request.workers, wanted.len(), |number, _| {
        let one = &wanted[number];
        let Some(bytes) = get(peers, one) else {
            return Ok(None);
        };
        let target = site.place(&one.path);
        put(site, &target, &bytes)
            .map(|data| {
                let digest = FileDigest::of(&bytes);
                Some(Row::of(&data, digest, &Claim::of(digest)))
            })
            .map_err(SyncError::local(target))
    })?;
    let mut fetched = 0;
    for (one, row) in wanted.into_iter().zip(came) {
        if let Some(row) = row {
            site.state.files.insert(one.path, row);
            fetched += 1;
        }
    }
    save(site)?;
    Ok(fetched)
}

/// Whether a file is a proof beside a package that is served: it stays as long as that does.
pub(super) fn stays(state: &State, path: &str) -> bool {
    let mut packages = SUFFIXES
        .iter()
        .filter_map(|suffix| path.strip_suffix(suffix));
    packages.any(|package| {
        let row = state.files.get(package);
        row.is_some_and(|row| row.dropped_at.is_none())
    })
}

/// The proofs of packages that are served and that are not here, in the order of their names.
fn missing(site: &Site) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    let packages = site.state.files.iter().filter(|(path, row)| {
        path.ends_with(".rpm") && row.dropped_at.is_none() && tree::below_repodata(path).is_none()
    });
    for (path, row) in packages {
        for suffix in SUFFIXES {
            let beside = format!("{path}{suffix}").into_boxed_str();
            let known = site.state.files.get(&beside);
            let is_here = known.is_some_and(|row| {
                let data = fs::symlink_metadata(site.place(&beside));
                data.is_ok_and(|data| row.is_untouched(&data))
            });
            if !is_here {
                wanted.push(Wanted {
                    path: beside,
                    package: row.sha256,
                });
            }
        }
    }
    wanted.sort_by(|a, b| a.path.cmp(&b.path));
    wanted
}

/// Whether a repository has proofs at all, told by the first that is wanted.
fn are_there(peers: &[Peer], wanted: &[Wanted]) -> bool {
    let mut first = wanted.iter().filter(|one| one.path.ends_with(SUFFIXES[0]));
    first.next().is_some_and(|one| get(peers, one).is_some())
        // It may be that the first package alone has none.
        || first.next_back().is_some_and(|one| get(peers, one).is_some())
}

fn get(peers: &[Peer], one: &Wanted) -> Option<Vec<u8>> {
    peers.iter().find_map(
        |peer| match peer.read_small(&one.path, bundle::MAX_BYTES as u64) {
            Ok(bytes) if is_right(one, &bytes) => Some(bytes),
            Ok(_) => {
                tracing::debug!("{}: {} is no proof of this package", peer.label(), one.path);
                None
            }
            Err(Problem::Missing) => None,
            Err(problem) => {
                tracing::debug!("{}: {}: {problem}", peer.label(), one.path);
                None
            }
        },
    )
}

/// Whether it is what its name says; nobody's word is verified.
fn is_right(one: &Wanted, bytes: &[u8]) -> bool {
    if one.path.ends_with(".tlog-proof") {
        let text = std::str::from_utf8(bytes);
        return text.is_ok_and(|text| text.parse::<LogProof>().is_ok());
    }
    let Ok(bundle) = Bundle::from_json(bytes) else {
        return false;
    };
    if one.path.ends_with(".vsa.sigstore.json") {
        return true;
    }
    let said = Statement::<PackageRelease>::open_unverified(&bundle.envelope, PACKAGE_RELEASE);
    let hex = one.package.to_hex();
    said.is_ok_and(|said| {
        let mut subjects = said.subject.iter();
        subjects.any(|subject| subject.digest.get("sha256") == Some(&hex))
    })
}

/// Writes it whole; the sync's own directory is on the same file system.
fn put(site: &Site, target: &Path, bytes: &[u8]) -> io::Result<fs::Metadata> {
    let mut file = tempfile::NamedTempFile::new_in(&site.own)?;
    io::Write::write_all(&mut file, bytes)?;
    let readable = fs::Permissions::from_mode(0o644);
    file.as_file().set_permissions(readable)?;
    file.as_file().sync_all()?;
    let file = file.persist(target)?;
    file.metadata()
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_model::dsse::StatementKey;
    use repo_model::statement::Subject;

    #[test]
    fn only_a_bundle_about_the_very_file_is_taken_and_only_proofs_that_read() {
        let package = FileDigest::of(b"package");
        let about = |file: FileDigest| {
            let said = PackageRelease {
                purl: "pkg:rpm/p".to_owned(),
            };
            let subject = vec![Subject::file("p.rpm", file)];
            let key = StatementKey::from_seed(&[1; 32]).unwrap();
            let signed = Statement::new(PACKAGE_RELEASE, subject, said).sign(&key);
            bundle::of(&signed.unwrap())
        };
        let wanted = |suffix: &str| Wanted {
            path: format!("Packages/p/p.rpm{suffix}").into(),
            package,
        };
        assert!(is_right(&wanted(".sigstore.json"), &about(package)));
        let other = about(FileDigest::of(b"other"));
        assert!(!is_right(&wanted(".sigstore.json"), &other));
        assert!(
            is_right(&wanted(".vsa.sigstore.json"), &other),
            "its subject is the header"
        );
        for suffix in SUFFIXES {
            for junk in [&b""[..], b"<html>not found</html>", b"{}", b"[[[[", b"\xff"] {
                assert!(!is_right(&wanted(suffix), junk), "{suffix}");
            }
        }
    }
}
