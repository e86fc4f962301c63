//! Paths of the published tree.

use repo_model::{Arch, ChannelName, ReleaseId, RepoName};

/// What the first part of a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// Moves.
    Channel(ChannelName),
    /// Stays.
    Pinned(ReleaseId),
}

/// A path in the published tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Channel or release.
    pub root: Root,
    /// Repository.
    pub repo: RepoName,
    /// Architecture.
    pub arch: Arch,
    /// The rest, without a slash in front; empty for the base.
    pub rest: String,
}

impl Place {
    /// Reads a percent-decoded path; `None` when it is not of this shape.
    pub fn parse(path: &str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        let (root, path) = match path.strip_prefix("r/") {
            Some(path) => {
                let (release, path) = path.split_once('/')?;
                (Root::Pinned(release.parse().ok()?), path)
            }
            None => {
                let (channel, path) = path.split_once('/')?;
                (Root::Channel(channel.parse().ok()?), path)
            }
        };
        let (repo, path) = path.split_once('/')?;
        let (arch, rest) = path.split_once('/')?;
        let place = Self {
            root,
            repo: repo.parse().ok()?,
            arch: arch.parse().ok()?,
            rest: rest.to_owned(),
        };
        let tricks = rest.split('/').any(|part| part == "." || part == "..") || rest.contains('\0');
        (!tricks).then_some(place)
    }

    /// The path of the base, with slashes at both ends.
    pub fn base(&self) -> String {
        match &self.root {
            Root::Channel(channel) => format!("/{channel}/{}/{}/", self.repo, self.arch),
            Root::Pinned(release) => format!("/r/{release}/{}/{}/", self.repo, self.arch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_channel_or_release_then_repo_then_arch() {
        let place = Place::parse("/preview/base/x86_64/repodata/repomd.xml").unwrap();
        assert_eq!(place.base(), "/preview/base/x86_64/");
        assert_eq!(place.rest, "repodata/repomd.xml");
        let pinned = Place::parse("/r/17/base/x86_64/").unwrap();
        assert_eq!(pinned.root, Root::Pinned(ReleaseId(17)));
        for bad in [
            "/",
            "/preview",
            "/preview/base/x86_64",
            "/r/x/base/x86_64/",
            "/preview/base/x86_64/../../../etc/passwd",
            "/preview/../x86_64/a",
            "/preview/base/x86_64/a\0b",
        ] {
            assert_eq!(Place::parse(bad), None, "{bad:?}");
        }
    }
}
