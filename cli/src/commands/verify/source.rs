//! Where the evidence is taken from: a server, a pack, a copy of a repository, or what was kept.

use super::Args;
use super::targets::{is_pack, origin, repository};
use crate::api::Client;
use crate::failure::Failure;
use crate::verify::{Cached, Pack, RepositoryCopy, Server, Source};
use mirrors::evidence::beside::COMMON;
use std::path::Path;

/// A pack that is a target brings its own evidence.
pub(super) fn source(args: &Args, target: &str) -> Result<Box<dyn Source + Sync>, Failure> {
    if let Some(from) = &args.from {
        let copy = RepositoryCopy::open(from)?.ok_or_else(|| {
            Failure::failed(format!("{from} has no {COMMON}")).with_hint(
                "name the root of one repository, where repodata/ is; `hallmark mirror sync` and \
                 `hallmark export` bring its evidence along",
            )
        })?;
        return Ok(Box::new(copy));
    }
    let pack = match &args.offline {
        Some(pack) => Some(pack.as_path()),
        None => is_pack(target).then(|| Path::new(target)),
    };
    if let Some(path) = pack {
        let read = Pack::read(path);
        return match read {
            Ok(pack) => Ok(Box::new(pack)),
            Err(error) => Err(Failure::usage(format!(
                "{} is no evidence pack: {error}",
                path.display()
            ))),
        };
    }
    let client = match origin(target) {
        Some(origin) => Client::new(&origin, None)?,
        None => args.server.client()?,
    };
    let server = Server(client);
    Ok(match &args.cache {
        Some(dir) => Box::new(Cached::new(dir.clone(), Some(server))),
        None => Box::new(server),
    })
}

/// The copy that a package's URL is of, where no Hallmark server answers.
pub(super) fn copy_at(args: &Args, target: &str) -> Result<Option<RepositoryCopy>, Failure> {
    match repository(target) {
        Some(repository) if args.offline.is_none() && args.from.is_none() => {
            RepositoryCopy::open(&repository)
        }
        _ => Ok(None),
    }
}
