//! A copy in a directory: files are hard links to the store, and new metadata takes the old one's place in one step.

use super::SyncError;
use super::claim::Claim;
use super::destination::{Destination, Made, Rows};
use super::plan::{Item, Packages};
use super::round::{Got, Job};
use super::site::{Found, Site};
use super::state::{Look, Proof, Row};
use super::store::{is_file, same_file};
use super::tree::{Stage, below_repodata, remove_empty_parents};
use crate::reading::REPOMD;
use repo_model::FileDigest;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::time::SystemTime;
use tempfile::NamedTempFile;

/// The request's own directory.
pub(super) struct Directory;

impl Destination for Directory {
    fn recall(&mut self, _: &mut Site) -> Result<(), SyncError> {
        Ok(())
    }

    fn look_anew(&mut self, _: &mut Site) -> Result<(), SyncError> {
        Ok(())
    }

    fn has_pointer(&self, site: &Site) -> bool {
        site.place(REPOMD).is_file()
    }

    fn is_untouched(&self, site: &Site, path: &str, look: Look<'_>) -> bool {
        fs::symlink_metadata(site.place(path)).is_ok_and(|data| look.is_of(&data))
    }

    fn look(&self, site: &Site, item: &Item) -> Result<Found, SyncError> {
        site.look(item)
            .map_err(SyncError::local(site.place(&item.path)))
    }

    fn open(&self, site: &Site, path: &str) -> Result<Option<Box<dyn Read + '_>>, SyncError> {
        let file = File::open(site.place(path)).ok();
        Ok(file.map(|file| Box::new(file) as Box<dyn Read>))
    }

    fn check_room(&self, site: &Site, needed_bytes: u64) -> Result<(), SyncError> {
        let root = &site.directory;
        let space = rustix::fs::statvfs(root)
            .map_err(|error| SyncError::local(root.clone())(error.into()))?;
        let free_bytes = space.f_bavail.saturating_mul(space.f_frsize);
        match needed_bytes > free_bytes {
            true => Err(SyncError::Space {
                needed_bytes,
                free_bytes,
            }),
            false => Ok(()),
        }
    }

    fn place_now(&self, site: &Site, item: &Item, row: &mut Row) -> Result<bool, SyncError> {
        if below_repodata(&item.path).is_some() {
            return Ok(false);
        }
        let target = site.place(&item.path);
        let served = site.state.files.get(&item.path);
        if served.is_some_and(|served| served.sha256 != row.sha256) {
            return Ok(true);
        }
        let placed = site.journal.place(row.sha256, &item.path);
        placed
            .and_then(|()| site.store.place(row.sha256, &target))
            .map_err(SyncError::local(target))?;
        Ok(false)
    }

    fn switch(&self, job: &Job<'_>, site: &Site, made: &Made<'_>) -> Result<Rows, SyncError> {
        let mut files = placed(made.packages, made.got);
        let stage = Stage::new(site).map_err(SyncError::local(site.own.join("stage")))?;
        let fail = || SyncError::local(site.place("repodata"));
        let mut rows: Rows = Vec::new();
        if job.rewrites() {
            let rewritten = job.rewritten(site, made)?;
            rows = stage.take_rewritten(&rewritten).map_err(fail())?;
        } else {
            let metadata = made.metadata.iter();
            files.extend(metadata.filter_map(|(item, got)| here(item, got)));
            let beside = job.beside(made.pointer);
            let taken = files.iter().map(|file| (file.path, file.row));
            stage.take(made.pointer, &beside, taken).map_err(fail())?;
        }
        stage
            .carry_over(&site.state, job.request.now)
            .map_err(fail())?;
        site.keep_pointer(made.pointer)
            .map_err(SyncError::local(site.own.join("upstream")))?;
        for file in files.iter().filter(|file| file.place_last) {
            file.place(site)
                .map_err(SyncError::local(site.place(file.path)))?;
        }
        stage.switch().map_err(fail())?;
        rows.extend(
            files
                .iter()
                .map(|file| (file.path.into(), file.row.clone())),
        );
        Ok(rows)
    }

    fn read_small(
        &self,
        site: &Site,
        path: &str,
        limit_bytes: u64,
    ) -> Result<Option<Vec<u8>>, SyncError> {
        let Ok(file) = File::open(site.place(path)) else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let read = file.take(limit_bytes).read_to_end(&mut bytes);
        Ok(read.is_ok().then_some(bytes))
    }

    fn modified(&self, site: &Site, path: &str) -> Result<Option<SystemTime>, SyncError> {
        let data = fs::symlink_metadata(site.place(path));
        Ok(data.and_then(|data| data.modified()).ok())
    }

    fn put_small(&self, site: &Site, path: &str, bytes: &[u8]) -> Result<Proof, SyncError> {
        let spooled = || -> io::Result<NamedTempFile> {
            let mut spool = site.spool()?;
            io::Write::write_all(&mut spool, bytes)?;
            spool.as_file().sync_all()?;
            Ok(spool)
        };
        let spool = spooled().map_err(SyncError::local(site.own.clone()))?;
        self.put_spooled(site, path, spool)
    }

    fn put_spooled(
        &self,
        site: &Site,
        path: &str,
        spool: NamedTempFile,
    ) -> Result<Proof, SyncError> {
        let put = || {
            let readable = fs::Permissions::from_mode(0o644);
            spool.as_file().set_permissions(readable)?;
            // The sync's own directory is on the same file system.
            spool.persist(site.place(path))?.metadata()
        };
        let data = put().map_err(SyncError::local(site.place(path)))?;
        Ok(Proof::of(&data))
    }

    fn settle(&self, site: &Site) -> Result<(), SyncError> {
        let settle = || io::Result::Ok(rustix::fs::syncfs(File::open(&site.directory)?)?);
        settle().map_err(SyncError::local(site.directory.clone()))
    }

    fn stray(&self, site: &Site, path: &str, digest: FileDigest) -> Result<Option<Row>, SyncError> {
        // It may never have got there, or somebody has put a file of his own there since.
        let target = site.place(path);
        let is_it = || {
            same_file(&site.store.object(digest), &target)
                || is_file(&target, &Claim::of(digest)).is_ok_and(|found| found.is_some())
        };
        let data = fs::symlink_metadata(&target).ok();
        let data = data.filter(|data| data.is_file() && is_it());
        Ok(data.map(|data| Row::of(&data, digest, &Claim::of(digest))))
    }

    fn remove(&mut self, site: &Site, path: &str, look: Look<'_>) -> Result<bool, SyncError> {
        if !self.is_untouched(site, path, look) {
            return Ok(false);
        }
        let target = site.place(path);
        fs::remove_file(&target).map_err(SyncError::local(target.clone()))?;
        remove_empty_parents(&target, &site.directory);
        Ok(true)
    }

    fn save(&mut self, site: &Site) -> Result<(), SyncError> {
        let path = site.own.join("state");
        site.state.save(&path).map_err(SyncError::local(path))
    }

    fn tidy(&self, site: &Site, deleted: u64) -> Result<(), SyncError> {
        if deleted > 0 {
            let swept = site.store.sweep();
            swept.map_err(SyncError::local(site.own.join("store")))?;
        }
        Ok(())
    }
}

/// A file of the new copy.
struct Placed<'m> {
    path: &'m str,
    row: &'m Row,
    place_last: bool,
    /// Where else the same content is, should the store not have it.
    twin: Option<&'m str>,
}

impl Placed<'_> {
    fn place(&self, site: &Site) -> io::Result<()> {
        let (digest, target) = (self.row.sha256, site.place(self.path));
        let served = site.state.files.get(self.path);
        if served.is_some_and(|served| {
            served.sha256 == digest
                && fs::symlink_metadata(&target).is_ok_and(|data| served.is_untouched(&data))
        }) {
            return Ok(());
        }
        // The store may be a new one, or swept of what is on another file system.
        let in_store = site.store.look(digest, Some(self.row.size_bytes)).is_some();
        match self.twin {
            Some(twin) if !in_store => {
                let source = site.place(twin);
                site.store.place_from(&source, digest, &target)
            }
            _ => site.store.place(digest, &target),
        }
    }
}

fn here<'m>(item: &'m Item, got: &'m Got) -> Option<Placed<'m>> {
    match got {
        Got::Here { row, place_last } => Some(Placed {
            path: &item.path,
            row,
            place_last: *place_last,
            twin: None,
        }),
        Got::Missing { .. } => None,
    }
}

/// The packages that are here, under all their names.
fn placed<'m>(packages: &'m Packages, got: &'m [Got]) -> Vec<Placed<'m>> {
    let items = packages.items.iter().zip(got);
    let mut files: Vec<Placed<'m>> = items.filter_map(|(item, got)| here(item, got)).collect();
    for (path, number) in &packages.twins {
        if let Some(Got::Here { row, .. }) = got.get(*number) {
            files.push(Placed {
                path,
                row,
                place_last: true,
                twin: packages.items.get(*number).map(|item| &*item.path),
            });
        }
    }
    files
}
