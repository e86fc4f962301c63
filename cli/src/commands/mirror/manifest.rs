//! The signed manifest of a copy, as `mirror verify` looks at it.

use crate::failure::chain;
use mirrors::compare::{Away, Differences, ReadOnce, compare, is_extra};
use mirrors::reading::{SourceError, read_small};
use repo_model::manifest::{MANIFEST, MANIFEST_MAX_BYTES, Manifest};
use repo_server::repocheck::{Certificate, verify_any_detached};
use serde::Serialize;
use std::fmt::Write as _;

/// Files that are named for people; `--json` names all.
const NAMED: usize = 20;

/// What the manifest of one repository says of its copy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ManifestCheck {
    /// Number of the release that it is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<u64>,
    /// Files that it lists.
    files: u64,
    /// Whether its signature was verified; `false` without a key too.
    signature_verified: bool,
    /// Why nothing could be compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// How the copy differs.
    #[serde(flatten)]
    differences: Differences,
}

impl ManifestCheck {
    /// Whether the manifest is good and all that it lists is there.
    pub fn passed(&self) -> bool {
        self.problem.is_none() && self.differences.is_whole()
    }
}

/// Checks a copy by its manifest; `None` when it has none, as repositories of others and old releases.
///
/// * `keys`: of which one must have signed it; none: its signature is not looked at.
/// * `each_file`: shows the paths of all files of the copy.
/// * Fails when the copy can no longer be reached.
pub fn check(
    copy: &ReadOnce<'_>,
    keys: &[Certificate],
    each_file: impl FnOnce(&mut dyn FnMut(&str)) -> Result<(), SourceError>,
) -> Result<Option<ManifestCheck>, Away> {
    let mut found = ManifestCheck::default();
    match read(copy, keys, &mut found) {
        Err(Unfit::Absent) => return Ok(None),
        Err(Unfit::Away(why)) => return Err(Away(why)),
        Err(Unfit::Wrong(why)) => found.problem = Some(why),
        Ok(manifest) => {
            found.release = Some(manifest.of.release.0);
            found.files = manifest.files.len() as u64;
            let mut extra = Vec::new();
            let mut see = |path: &str| {
                if is_extra(&manifest, path) {
                    extra.push(path.to_owned());
                }
            };
            match each_file(&mut see) {
                Ok(()) => found.differences = compare(copy, extra, &manifest)?,
                Err(SourceError::Unreachable(why)) => return Err(Away(why)),
                Err(error) => found.problem = Some(format!("its files: {}", chain(&error))),
            }
        }
    }
    Ok(Some(found))
}

/// Why there is nothing to compare with.
enum Unfit {
    Absent,
    Away(String),
    Wrong(String),
}

fn read(
    copy: &ReadOnce<'_>,
    keys: &[Certificate],
    found: &mut ManifestCheck,
) -> Result<Manifest, Unfit> {
    let wrong = |why: String| Unfit::Wrong(format!("{MANIFEST}: {why}"));
    let text = match read_small(copy, MANIFEST, MANIFEST_MAX_BYTES) {
        Err(SourceError::Missing) => return Err(Unfit::Absent),
        Err(SourceError::Unreachable(why)) => return Err(Unfit::Away(why)),
        text => text.map_err(|error| wrong(chain(&error)))?,
    };
    if !keys.is_empty() {
        let signature = match read_small(copy, &format!("{MANIFEST}.asc"), 1 << 20) {
            Err(SourceError::Unreachable(why)) => return Err(Unfit::Away(why)),
            signature => {
                signature.map_err(|error| wrong(format!("its signature: {}", chain(&error))))?
            }
        };
        verify_any_detached(&text, &signature, keys).map_err(|error| wrong(chain(&error)))?;
        found.signature_verified = true;
    }
    let text = String::from_utf8(text).map_err(|_| wrong("it is not text".to_owned()))?;
    Manifest::read(&text).map_err(|error| wrong(chain(&error)))
}

/// For people: a line about the whole, and one for each file that is not as it should be.
pub fn text(check: &ManifestCheck) -> String {
    if let Some(problem) = &check.problem {
        return format!("  manifest: {problem}\n");
    }
    let found = &check.differences;
    let signed = match check.signature_verified {
        true => "signature good",
        false => "signature not looked at",
    };
    let mut out = format!("  manifest: {} files, {signed}", check.files);
    if let Some(release) = check.release {
        let _ = write!(out, ", release {release}");
    }
    out.push('\n');
    let unreadable = found
        .unreadable
        .iter()
        .map(|(path, why)| format!("{path}: {why}"));
    let unreadable: Vec<String> = unreadable.collect();
    for (what, paths) in [
        ("missing", &found.missing),
        ("differs", &found.differing),
        ("unreadable", &unreadable),
        ("extra", &found.extra),
    ] {
        for path in paths.iter().take(NAMED) {
            let _ = writeln!(out, "    {what}: {}", path.escape_debug());
        }
        if paths.len() > NAMED {
            let _ = writeln!(out, "    {what}: and {} more", paths.len() - NAMED);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;
    use mirrors::reading::{Source, Stream};

    #[test]
    fn a_copy_without_a_manifest_is_not_judged_by_it_and_a_bad_one_fails() {
        let root = tempfile::tempdir().unwrap();
        let directory = mirrors::reading::Directory::new(root.path());
        let checked = || {
            let files = |see: &mut dyn FnMut(&str)| {
                mirrors::compare::each_file(root.path(), see).unwrap();
                Ok(())
            };
            check(&ReadOnce::new(&directory), &[], files).unwrap()
        };
        assert!(checked().is_none());
        std::fs::create_dir(root.path().join("repodata")).unwrap();
        let put = |text: &str| std::fs::write(root.path().join(MANIFEST), text).unwrap();
        put("rubbish");
        let bad = checked().unwrap();
        assert!(!bad.passed());
        assert!(
            text(&bad).contains("line 1 of the manifest"),
            "{}",
            text(&bad)
        );
        put(&format!(
            "# hallmark-manifest/1 release=3 repo=base arch=x86_64 issued=2026-01-01T00:00:00Z\n{}  a.rpm\n",
            repo_model::FileDigest::of(b"a")
        ));
        let missing = checked().unwrap();
        assert!(!missing.passed());
        assert!(text(&missing).contains("    missing: a.rpm\n"));
        std::fs::write(root.path().join("a.rpm"), "a").unwrap();
        std::fs::write(root.path().join("b.rpm"), "b").unwrap();
        let whole = checked().unwrap();
        assert!(whole.passed());
        assert_eq!(
            text(&whole),
            "  manifest: 1 files, signature not looked at, release 3\n    extra: b.rpm\n"
        );
    }

    /// A copy of which all but these files cannot be reached any more.
    struct Leaving<'a>(mirrors::reading::Directory, &'a [&'a str]);

    impl Source for Leaving<'_> {
        fn open(&self, path: &str) -> Result<Stream<'_>, SourceError> {
            match self.1.contains(&path) {
                true => self.0.open(path),
                false => Err(SourceError::Unreachable("no route".to_owned())),
            }
        }

        fn size_bytes(&self, path: &str) -> Result<Option<u64>, SourceError> {
            self.0.size_bytes(path)
        }

        fn tells_sizes_cheaply(&self) -> bool {
            false
        }
    }

    #[test]
    fn a_copy_that_goes_away_is_not_called_bad() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("repodata")).unwrap();
        let text = format!(
            "# hallmark-manifest/1 release=3 repo=base arch=x86_64 issued=2026-01-01T00:00:00Z\n{}  a.rpm\n",
            repo_model::FileDigest::of(b"a")
        );
        std::fs::write(root.path().join(MANIFEST), text).unwrap();
        let away = || Err(SourceError::Unreachable("no route".to_owned()));
        let checked = |readable: &[&str], files: Result<(), SourceError>| {
            let copy = Leaving(mirrors::reading::Directory::new(root.path()), readable);
            check(&ReadOnce::new(&copy), &[], |_| files)
        };
        for outcome in [
            checked(&[], Ok(())),
            checked(&[MANIFEST], away()),
            checked(&[MANIFEST], Ok(())),
        ] {
            let failure = super::super::verify::away(outcome.unwrap_err());
            assert_eq!(failure.exit, Exit::Unreachable);
            assert!(failure.message().contains("no route"));
        }
    }
}
