//! That a signed release has the package, and how old the newest one is.

use super::clock::{SET_IT, behind};
use super::links::open;
use super::{Evidence, Link, Trust};
use crate::bundle::Bundle;
use crate::release::{ListedPackage, PackageListIndex, ReleaseDocument};
use crate::statement::RELEASE;
use crate::{FileDigest, Timestamp};

const LOOK: &str = "is it of this repository, and of a release that was not withdrawn?";

/// The release document in a bundle, if one of the trusted statement keys signed it; else why not, in words.
/// That it is in the log is not looked at.
pub fn open_release(trust: &Trust, bundle: &Bundle) -> Result<ReleaseDocument, String> {
    open::<ReleaseDocument>(trust, bundle, RELEASE)
        .map(|statement| statement.predicate)
        .map_err(|problem| format!("the release document: {problem}"))
}

/// A release of the signer lists this header, this file and this summary.
pub(super) fn listed(trust: &Trust, evidence: &Evidence<'_>) -> Link {
    const NAME: &str = "release";
    let Some(release) = evidence.release else {
        return Link::broken(NAME, "no release that has it", LOOK);
    };
    let document = match open_release(trust, &release.document) {
        Ok(document) => document,
        Err(problem) => return Link::broken(NAME, problem, LOOK),
    };
    let header = evidence.head.header_digest();
    for repo in &document.repos {
        let mut lists = release.lists.iter();
        let Some(list) = lists.find(|list| list.digest == repo.package_list) else {
            continue;
        };
        let index = list.index.get_or_init(|| PackageListIndex::of(&list.bytes));
        let at = format!("{}/{}", repo.repo, repo.arch);
        let line = match index.find(&list.bytes, header) {
            Ok(None) => continue,
            Ok(Some(line)) => line,
            Err(error) => return Link::broken(NAME, format!("{at}: {error}"), LOOK),
        };
        return match contradiction(&line, evidence) {
            Some(problem) => Link::broken(NAME, format!("{at}: {problem}"), LOOK),
            None => {
                let (id, issued) = (document.id, document.issued);
                Link::holds(NAME, format!("release {id} of {issued} has it in {at}"))
            }
        };
    }
    let id = document.id;
    Link::broken(NAME, format!("release {id} does not list it"), LOOK)
}

fn contradiction(line: &ListedPackage, evidence: &Evidence<'_>) -> Option<String> {
    if evidence.file.is_some_and(|file| file != line.signed_file) {
        return Some("it lists another file for this header".to_owned());
    }
    let summary = evidence
        .summary
        .map(|bundle| FileDigest::of(&bundle.envelope.to_json()));
    match summary == Some(line.summary) {
        true => None,
        false => Some("it lists another verification summary".to_owned()),
    }
}

/// How old the newest release is, which a clock that is behind cannot tell: that breaks a limit that the reader has set.
///
/// * `verified`: when the signer judged the package.
pub(super) fn fresh(
    trust: &Trust,
    evidence: &Evidence<'_>,
    verified: Option<Timestamp>,
    now: Timestamp,
) -> Link {
    const NAME: &str = "freshness";
    const OLD: &str = "refresh from another mirror: this one may be frozen";
    let newest = match evidence.newest.map(|bundle| open_release(trust, bundle)) {
        Some(Err(problem)) => return Link::broken(NAME, problem, OLD),
        Some(Ok(document)) => Some((document.id, document.issued)),
        None => None,
    };
    let to_come = newest.and_then(|(id, issued)| behind(&format!("release {id} is"), issued, now));
    let to_come = to_come.or_else(|| behind("the verification summary is", verified?, now));
    if let Some(says) = to_come {
        return match trust.max_age_days {
            None => Link::unchecked(NAME, says, SET_IT),
            Some(_) => Link::broken(NAME, says, SET_IT),
        };
    }
    let Some((id, issued)) = newest else {
        let says = "the newest release is not here";
        return match trust.max_age_days {
            None => Link::not_checked(NAME, says),
            Some(_) => Link::broken(NAME, says, OLD),
        };
    };
    let says = format!("the newest release is {id} of {issued}");
    match trust.max_age_days {
        Some(days) if issued.plus_secs(i64::from(days) * 86_400) < now => {
            Link::broken(NAME, format!("{says}, more than {days} days ago"), OLD)
        }
        Some(_) => Link::holds(NAME, says),
        None => Link::not_checked(NAME, format!("{says}; no limit is set")),
    }
}
