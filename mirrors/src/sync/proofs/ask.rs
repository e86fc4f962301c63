//! What upstreams say of one proof. It lies in a file until it was looked at: one may have megabytes, and several come at the
//! same time.

use super::super::SyncError;
use super::super::fetch::Setback;
use super::super::peer::{Peer, Problem};
use super::super::site::Site;
use crate::evidence::beside as evidence;
use repo_model::FileDigest;
use repo_model::bundle::Bundle;
use repo_model::log::LogProof;
use repo_model::statement::{PACKAGE_RELEASE, PackageRelease, Statement};
use std::io::{Read, Seek as _};
use tempfile::NamedTempFile;

/// Largest proof, bytes: no metadata tells their sizes.
const MAX_PROOF_BYTES: u64 = 1 << 20;

/// A proof that is still to be had.
pub(super) struct Wanted {
    pub path: Box<str>,
    /// The package's own file.
    pub package: FileDigest,
}

/// What upstreams say of a proof.
pub(super) enum Answer {
    Here(NamedTempFile),
    /// None that can be used.
    Nothing,
    /// None gave it, and one or more could not be asked.
    Failed {
        why: String,
        /// Whether another one could.
        another_lacks: bool,
    },
}

/// Asks one upstream after the other. Fails only when this machine cannot keep what comes.
pub(super) fn get(peers: &[Peer], site: &Site, one: &Wanted) -> Result<Answer, SyncError> {
    let (mut failed, mut another_lacks) = (None, false);
    for peer in peers {
        match given(peer, site, one) {
            Ok(Some(proof)) => return Ok(Answer::Here(proof)),
            Ok(None) => {
                tracing::debug!("{}: {} is no proof of this package", peer.label(), one.path);
                another_lacks = true;
            }
            Err(Setback::Local(error)) => return Err(SyncError::local(site.own.clone())(error)),
            Err(Setback::Upstream(Problem::Missing)) => another_lacks = true,
            Err(Setback::Upstream(problem)) => {
                let why = format!("{}: {}: {problem}", peer.label(), one.path);
                tracing::debug!("{why}");
                match problem.may_pass() {
                    true => failed = Some(why),
                    false => another_lacks = true,
                }
            }
        }
    }
    Ok(match failed {
        Some(why) => Answer::Failed { why, another_lacks },
        None => Answer::Nothing,
    })
}

/// What an upstream gives; none: it is not what its name says.
fn given(peer: &Peer, site: &Site, one: &Wanted) -> Result<Option<NamedTempFile>, Setback> {
    let limit_bytes = match one.path.ends_with(evidence::SUFFIX) {
        true => evidence::MAX_PACKAGE_BYTES,
        false => MAX_PROOF_BYTES,
    };
    let answer = peer.open(&one.path, 0)?;
    let mut spool = site.spool()?;
    peer.spool(answer, limit_bytes, spool.as_file_mut())?;
    spool.as_file_mut().rewind()?;
    Ok(is_right(one, spool.as_file()).then_some(spool))
}

/// Whether it is what its name says; nobody's word is verified.
pub(super) fn is_right(one: &Wanted, mut content: impl Read) -> bool {
    if one.path.ends_with(evidence::SUFFIX) {
        return evidence::is_about(content, one.package);
    }
    let mut bytes = Vec::new();
    if content.read_to_end(&mut bytes).is_err() {
        return false;
    }
    if one.path.ends_with(".tlog-proof") {
        let text = std::str::from_utf8(&bytes);
        return text.is_ok_and(|text| text.parse::<LogProof>().is_ok());
    }
    let Ok(bundle) = Bundle::from_json(&bytes) else {
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
