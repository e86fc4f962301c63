//! Packages that come twice: as the same file in two places, or as different files with one name.

use super::error::{CreaterepoError, Duplicate};
use super::state::Known;
use repo_model::FileDigest;

/// What to do about different packages of one NEVRA; a client would take either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicates {
    /// Change nothing.
    Refuse,
    /// List them all.
    KeepAll,
    /// List the one that was built last; of those built in one second the last by path.
    KeepLast,
}

/// The packages to list.
#[derive(Debug)]
pub(super) struct Resolved {
    /// Numbers of the files.
    pub listed: Vec<usize>,
    pub same_files: Vec<(String, String)>,
    pub duplicates: Vec<Duplicate>,
}

/// Decides which of `files` (sorted by path) are listed.
///
/// Of equal files the one whose path sorts first is listed: a pkgid that repeats makes naive
/// readers append files twice.
pub(super) fn resolve(files: &[Known], rule: Duplicates) -> Result<Resolved, CreaterepoError> {
    let mut resolved = Resolved {
        listed: Vec::with_capacity(files.len()),
        same_files: Vec::new(),
        duplicates: Vec::new(),
    };
    // Sorted digests tell what repeats for a third of what a hash table of them costs.
    let mut by_digest: Vec<(FileDigest, usize)> = files
        .iter()
        .enumerate()
        .map(|(number, file)| (file.file_digest, number))
        .collect();
    by_digest.sort_unstable();
    let mut first_of = vec![None; files.len()];
    for same in by_digest.chunk_by(|a, b| a.0 == b.0) {
        for (_, number) in &same[1..] {
            first_of[*number] = Some(same[0].1);
        }
    }
    for (number, (file, first)) in files.iter().zip(first_of).enumerate() {
        match first {
            None => resolved.listed.push(number),
            Some(first) => {
                let paths = (file.path.clone(), files[first].path.clone());
                resolved.same_files.push(paths);
            }
        }
    }
    // The newest build of a NEVRA comes first; of builds in one second the last by path, as in createrepo_c.
    resolved.listed.sort_by(|a, b| {
        let (a, b) = (&files[*a], &files[*b]);
        (&a.nevra, b.built_at, &b.path).cmp(&(&b.nevra, a.built_at, &a.path))
    });
    for pair in resolved.listed.windows(2) {
        let (first, second) = (&files[pair[0]], &files[pair[1]]);
        if first.nevra == second.nevra {
            resolved.duplicates.push(Duplicate {
                nevra: (*second.nevra).clone(),
                first: first.path.clone(),
                second: second.path.clone(),
            });
        }
    }
    if resolved.duplicates.is_empty() {
        return Ok(resolved);
    }
    match rule {
        Duplicates::Refuse => return Err(CreaterepoError::Duplicates(resolved.duplicates)),
        Duplicates::KeepAll => {}
        Duplicates::KeepLast => resolved
            .listed
            .dedup_by(|next, first| files[*next].nevra == files[*first].nevra),
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::super::scan::Look;
    use super::*;
    use repo_model::HeaderDigest;

    fn known(path: &str, nevra: &str, content: &str, built_at: i64) -> Known {
        Known {
            path: path.to_owned(),
            look: Look {
                size_bytes: 1,
                mtime: (0, 0),
                ctime: (0, 0),
            },
            file_digest: FileDigest::of(content.as_bytes()),
            sha512: None,
            header_digest: HeaderDigest::of(content.as_bytes()),
            nevra: std::sync::Arc::new(nevra.parse().unwrap()),
            built_at,
        }
    }

    #[test]
    fn equal_files_are_listed_once_and_different_ones_of_one_name_as_asked() {
        let files = [
            known("a.rpm", "a-1-1.noarch", "a", 5),
            known("b.rpm", "a-1-1.noarch", "a", 5),
            known("c.rpm", "a-1-1.noarch", "other", 9),
        ];
        let paths = |rule| -> Vec<String> {
            let resolved = resolve(&files, rule).unwrap();
            assert_eq!(
                resolved.same_files,
                [("b.rpm".to_owned(), "a.rpm".to_owned())]
            );
            resolved
                .listed
                .into_iter()
                .map(|n| files[n].path.clone())
                .collect()
        };
        assert_eq!(paths(Duplicates::KeepAll), ["c.rpm", "a.rpm"]);
        assert_eq!(paths(Duplicates::KeepLast), ["c.rpm"]);
        let Err(CreaterepoError::Duplicates(found)) = resolve(&files, Duplicates::Refuse) else {
            panic!("not refused");
        };
        assert_eq!((&*found[0].first, &*found[0].second), ("c.rpm", "a.rpm"));
        assert!(resolve(&files[..2], Duplicates::Refuse).is_ok());
        // Built in one second: the last path stays.
        let files = ["a.rpm", "b.rpm", "c.rpm"].map(|path| known(path, "a-1-1.noarch", path, 5));
        let resolved = resolve(&files, Duplicates::KeepLast).unwrap();
        assert_eq!(resolved.listed, [2]);
    }
}
