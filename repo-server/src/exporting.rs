//! What `hallmark export` writes: the published tree as the database has it in one moment, as files of the object
//! store. The server may run or not; only its database and its objects are read.

use crate::beside;
use crate::db::build_sboms::Builds;
use crate::db::channels::FreshnessRow;
use crate::db::releases::{ReleaseRepoRow, ReleaseRow};
use crate::db::{self, Db, DbError};
use crate::http::keys::{KEY_FILES, key_file, remembered, repo_file_text};
use crate::layout;
use crate::publish::sbom_listing;
use crate::store::local_path;
use crate::stored::Stored;
use mirrors::evidence::beside::{COMMON, write_common};
use mirrors::evidence::pack::PackError;
use mirrors::export::{Content, Entry, Switched, Tree};
use mirrors::metalink::{Metalink, MirrorUrl, Protocol, Repomd, render};
use mirrors::reading::{REPOMD_MAX_BYTES, XmlError};
use repo_model::config::Config;
use repo_model::manifest::MANIFEST;
use repo_model::wire::signer::{Identity, KeyRole};
use repo_model::{ChannelName, FileDigest, ReleaseId, RepoName, Timestamp, freshness};
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::path::PathBuf;

/// What is to be exported.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Channels; none: all that point somewhere.
    pub channels: Vec<ChannelName>,
    /// Releases besides those that these channels point to.
    pub releases: Vec<ReleaseId>,
}

/// The tree cannot be told. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum ExportingError {
    /// The operator's to mend: the wrong configuration, or a server that never ran.
    #[error("there is no database {}", path.display())]
    NoDatabase {
        /// Where it would be.
        path: PathBuf,
    },
    /// The caller's fault.
    #[error("there is no channel {channel} that points to a release")]
    NoChannel {
        /// Which.
        channel: ChannelName,
    },
    /// The caller's fault, or the release was taken over from the signer and has no files.
    #[error("there is no release {release} with files")]
    NoRelease {
        /// Which.
        release: ReleaseId,
    },
    /// The server has never seen its signer's keys; start it once while the signer runs.
    #[error("the signer's keys are not known")]
    NoKeys,
    /// The store is damaged: put the object back from a backup or a mirror.
    #[error("cannot read the object {}", path.display())]
    Object {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A stored `repomd.xml` does not read back.
    #[error("the repomd.xml of release {release} cannot be read")]
    Repomd {
        /// Of which release.
        release: ReleaseId,
        /// What is wrong.
        #[source]
        source: XmlError,
    },
    /// The signer's log key does not read back.
    #[error("the log's key cannot be read")]
    LogKey(#[from] repo_model::log::NoteError),
    /// The log or the store is damaged, or the disk failed.
    #[error("the evidence of repository {repo} cannot be packed")]
    Evidence {
        /// Which.
        repo: RepoName,
        /// Why.
        #[source]
        source: PackError,
    },
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// The published tree of one moment.
pub async fn tree(config: &Config, selection: Selection) -> Result<Tree, ExportingError> {
    let path = layout::database(&config.server.data_dir);
    if !path.exists() {
        return Err(ExportingError::NoDatabase { path });
    }
    let identity = remembered(&config.server.data_dir).ok_or(ExportingError::NoKeys)?;
    let planner = Planner {
        objects: layout::objects(&config.server.data_dir),
        public_url: config.server.public_url.to_string(),
        identity,
        config: config.clone(),
        now: crate::app::now(),
    };
    let db = Db::open(&path)?;
    db.read(move |connection| {
        // One transaction: a release that comes out meanwhile is in all of it or in nothing.
        let tx = connection.unchecked_transaction().map_err(DbError::from)?;
        planner.tree(&tx, &selection)
    })
    .await
}

/// None: there is nothing that a copy could use.
fn common_pack(stored: &Stored<'_>, repo: &RepoName) -> Result<Option<Vec<u8>>, ExportingError> {
    match write_common(stored, repo) {
        Ok(packed) => Ok(Some(packed)),
        // The newest release was taken over from the signer and is not here.
        Err(PackError::Missing(_)) => Ok(None),
        // Nobody would read it.
        Err(error @ PackError::TooLarge { .. }) => {
            tracing::warn!("the export has no evidence of repository {repo} in common: {error}");
            Ok(None)
        }
        Err(source) => Err(ExportingError::Evidence {
            repo: repo.clone(),
            source,
        }),
    }
}

struct Planner {
    config: Config,
    objects: PathBuf,
    public_url: String,
    identity: Identity,
    now: Timestamp,
}

impl Planner {
    fn tree(&self, connection: &Connection, wanted: &Selection) -> Result<Tree, ExportingError> {
        let mut tree = Tree::default();
        let channels = channels(connection, wanted)?;
        let mut releases: BTreeSet<ReleaseId> = wanted.releases.iter().copied().collect();
        releases.extend(channels.iter().map(|(_, release)| *release));
        for release in releases {
            self.add_release(connection, &mut tree, &format!("r/{release}"), release)?;
        }
        // Made once for each repository: it is the same for all its architectures, in all channels.
        let mut packs = BTreeMap::new();
        for (channel, release) in &channels {
            self.add_release(connection, &mut tree, channel.as_str(), *release)?;
            self.add_evidence(connection, &mut tree, channel, *release, &mut packs)?;
            let text = repo_file_text(&self.config, channel, false);
            tree.pointers.push(bytes(format!("{channel}.repo"), text));
            self.add_freshness(connection, &mut tree, channel, *release)?;
        }
        self.add_keys(&mut tree)?;
        Ok(tree)
    }

    fn add_release(
        &self,
        connection: &Connection,
        tree: &mut Tree,
        root: &str,
        release: ReleaseId,
    ) -> Result<(), ExportingError> {
        let row = db::releases::by_id(connection, release)?;
        let repos = db::releases::repos(connection, release)?;
        let Some(row) = row.filter(|_| !repos.is_empty()) else {
            return Err(ExportingError::NoRelease { release });
        };
        for repo in &repos {
            let base = format!("{root}/{}/{}", repo.repo, repo.arch);
            self.add_packages(connection, tree, &base, release, repo)?;
            self.add_metadata(connection, tree, &base, &row, repo)?;
        }
        Ok(())
    }

    /// What the evidence of all packages of a repository has in common: with it the export answers for the server.
    fn add_evidence(
        &self,
        connection: &Connection,
        tree: &mut Tree,
        channel: &ChannelName,
        release: ReleaseId,
        packs: &mut BTreeMap<RepoName, Option<Vec<u8>>>,
    ) -> Result<(), ExportingError> {
        // A signer from before there was a log.
        if self.identity.log_key.is_empty() {
            return Ok(());
        }
        let stored = Stored {
            connection,
            objects: self.objects.clone(),
            log: crate::log::directory(&self.config.server.data_dir),
            key: self.identity.log_key.parse()?,
        };
        for repo in db::releases::repos(connection, release)? {
            let packed = match packs.entry(repo.repo.clone()) {
                btree_map::Entry::Occupied(known) => known.into_mut(),
                btree_map::Entry::Vacant(new) => new.insert(common_pack(&stored, &repo.repo)?),
            };
            let Some(packed) = packed.clone() else {
                continue;
            };
            tree.pointers.push(Entry {
                path: format!("{channel}/{}/{}/{COMMON}", repo.repo, repo.arch),
                content: Content::Bytes(packed),
            });
        }
        Ok(())
    }

    /// What the signer said last about the channel, while that holds.
    fn add_freshness(
        &self,
        connection: &Connection,
        tree: &mut Tree,
        channel: &ChannelName,
        release: ReleaseId,
    ) -> Result<(), ExportingError> {
        let said = db::channels::freshness(connection, channel)?;
        let Some(said) = said.filter(|said| holds(said, release, self.now)) else {
            return Ok(());
        };
        let repos = db::releases::repos(connection, release)?;
        let places = repos
            .iter()
            .map(|repo| format!("{channel}/{}/{}", repo.repo, repo.arch));
        for place in places.chain([channel.to_string()]) {
            let path = format!("{place}/{}", freshness::FILE);
            tree.pointers.push(bytes(path, said.envelope.clone()));
        }
        Ok(())
    }

    fn object(&self, path: String, digest: FileDigest) -> Entry {
        let content = Content::Object {
            path: local_path(&self.objects, digest),
            digest,
        };
        Entry { path, content }
    }

    fn add_packages(
        &self,
        connection: &Connection,
        tree: &mut Tree,
        base: &str,
        release: ReleaseId,
        repo: &ReleaseRepoRow,
    ) -> Result<(), ExportingError> {
        let (name, arch) = (&repo.repo, &repo.arch);
        let members = db::releases::members(connection, release, name, arch)?;
        let builds: BTreeSet<u64> = members.iter().map(|package| package.build_id).collect();
        let builds = Builds::Numbered(builds.into_iter().collect());
        for build in db::build_sboms::build_sboms(connection, &builds)? {
            for (_, digest, name) in sbom_listing::build_documents(&build) {
                let path = format!("{base}/sbom/{name}");
                tree.content.push(self.object(path, digest));
            }
        }
        for package in members {
            if let Some(signed) = &package.signed {
                let path = format!("{base}/{}", package.href);
                tree.content.push(self.object(path, signed.file));
            }
        }
        for row in db::evidence::beside_packages(connection, release, name, arch)? {
            if let Some(suffix) = beside::suffix_of(&row.kind, &row.label) {
                let path = format!("{base}/{}{suffix}", row.href);
                tree.content.push(self.object(path, row.digest));
            }
        }
        for row in db::release_documents::of_repo(connection, release, name, arch)? {
            let mut formats = sbom_gen::SBOM_FORMATS.iter();
            if let Some(format) = formats.find(|format| format.name == row.label) {
                let name = sbom_listing::whole_name(format);
                let path = format!("{base}/sbom/{name}.zst");
                tree.pointers.push(self.object(path, row.packed));
            }
        }
        Ok(())
    }

    fn add_metadata(
        &self,
        connection: &Connection,
        tree: &mut Tree,
        base: &str,
        release: &ReleaseRow,
        repo: &ReleaseRepoRow,
    ) -> Result<(), ExportingError> {
        let path = local_path(&self.objects, repo.repomd);
        let repomd = read_small(&path).map_err(|source| ExportingError::Object { path, source })?;
        let id = release.release;
        let parsed =
            mirrors::reading::Repomd::parse(&repomd).map_err(|source| ExportingError::Repomd {
                release: id,
                source,
            })?;
        let mut files = vec![
            ("repodata/repomd.xml".to_owned(), repo.repomd),
            ("repodata/repomd.xml.asc".to_owned(), repo.repomd_signature),
        ];
        let post_quantum = repo.repomd_post_quantum;
        files.extend(post_quantum.map(|digest| ("repodata/repomd.xml.pqc.asc".to_owned(), digest)));
        for record in &parsed.records {
            let (name, arch) = (&repo.repo, &repo.arch);
            let file = db::releases::repodata_file(connection, name, arch, &record.href, id)?;
            files.extend(file.map(|file| (file.name, file.file)));
        }
        if let Some(row) = db::manifests::of_repo(connection, id, &repo.repo, &repo.arch)? {
            files.push((MANIFEST.to_owned(), row.manifest));
            files.push((format!("{MANIFEST}.asc"), row.signature));
            files.extend(
                row.post_quantum
                    .map(|digest| (format!("{MANIFEST}.pqc.asc"), digest)),
            );
        }
        let object = |(name, digest)| self.object(format!("{base}/{name}"), digest);
        let mut files: Vec<Entry> = files.into_iter().map(object).collect();
        let key = self.identity.certificates(KeyRole::Metadata).concat();
        files.push(bytes(format!("{base}/repodata/repomd.xml.key"), key));
        tree.switched.push(Switched {
            path: format!("{base}/repodata"),
            files,
        });
        let metalink = self.metalink(release, repo, &repomd);
        tree.pointers
            .push(bytes(format!("{base}/metalink.xml"), metalink));
        Ok(())
    }

    /// Leads to the pinned release, as the server's own does.
    fn metalink(&self, release: &ReleaseRow, repo: &ReleaseRepoRow, repomd: &[u8]) -> String {
        let (public_url, id) = (self.public_url.trim_end_matches('/'), release.release);
        let url = format!(
            "{public_url}/r/{id}/{}/{}/repodata/repomd.xml",
            repo.repo, repo.arch
        );
        render(&Metalink {
            repomd: Repomd::of(repomd, release.issued),
            alternates: Vec::new(),
            urls: vec![MirrorUrl {
                protocol: Protocol::of_url(&url).unwrap_or(Protocol::Http),
                url,
                location: None,
                preference: 100,
            }],
        })
    }

    fn add_keys(&self, tree: &mut Tree) -> Result<(), ExportingError> {
        let labels = self.identity.keys.iter().flat_map(|key| {
            let label = &key.label;
            [format!("{label}.asc"), format!("{label}.pub")]
        });
        let names = KEY_FILES.iter().map(|name| (*name).to_owned());
        for name in names.chain(labels) {
            let text = key_file(&self.identity, &name)?;
            if !text.is_empty() {
                tree.pointers.push(bytes(format!("keys/{name}"), text));
            }
        }
        Ok(())
    }
}

fn bytes(path: String, text: String) -> Entry {
    Entry {
        path,
        content: Content::Bytes(text.into_bytes()),
    }
}

fn holds(said: &FreshnessRow, release: ReleaseId, now: Timestamp) -> bool {
    said.release == release && now < said.expires
}

/// The channels that are wanted, with the release of each.
fn channels(
    connection: &Connection,
    wanted: &Selection,
) -> Result<Vec<(ChannelName, ReleaseId)>, ExportingError> {
    if wanted.channels.is_empty() {
        let all = db::channels::all(connection)?.into_iter();
        let pointed = all.filter_map(|status| Some((status.channel, status.release?)));
        return Ok(pointed.collect());
    }
    let mut found = Vec::new();
    for channel in wanted.channels.iter().collect::<BTreeSet<_>>() {
        let pointed = db::channels::pointed(connection, channel)?;
        let (release, _) = pointed.ok_or_else(|| ExportingError::NoChannel {
            channel: channel.clone(),
        })?;
        found.push((channel.clone(), release));
    }
    Ok(found)
}

fn read_small(path: &std::path::Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut out = Vec::new();
    let mut file = std::fs::File::open(path)?.take(REPOMD_MAX_BYTES);
    file.read_to_end(&mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freshness_statement_is_exported_while_it_holds_and_for_the_release_that_it_is_about() {
        let at = Timestamp::from_unix_secs;
        let said = FreshnessRow {
            release: ReleaseId(3),
            envelope: String::new(),
            issued: at(1_000),
            expires: at(3_000),
        };
        assert!(holds(&said, ReleaseId(3), at(2_999)));
        assert!(!holds(&said, ReleaseId(3), at(3_000)));
        assert!(!holds(&said, ReleaseId(4), at(2_000)));
    }
}
