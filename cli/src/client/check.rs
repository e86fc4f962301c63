//! Judges a transaction: each package by the repository that vouches for it, all of one repository with one
//! look at its newest release.

use super::config::{ClientConfig, Others, VerifiedRepository};
use super::metadata::{Standing, problem, standing, used};
use super::origin::{CopyOrKept, Origin, copies, copy_at, evidence_dir};
use super::report::{PackageReport, Report};
use super::seen::{By, Seen};
use super::transaction::{Incoming, Transaction};
use super::whose::{is_kept, whose};
use crate::api::Client;
use crate::failure::chain;
use crate::verify::{
    Cached, Common, Item, Pack, Server, Source, SourceError, Subject, SubjectError, TrustDir,
    Verifier, is_transient,
};
use mirrors::evidence::gather::find;
use repo_model::log::Note;
use repo_model::verify::{Chain, open_release};
use repo_model::{FileDigest, HeaderDigest, Nevra, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const DO_NOT: &str = "do not install it; tell the repository's operator, and keep the file";
const CONFIGURE: &str =
    "mend /etc/hallmark/client.toml or what it names; `hallmark client fetch PACKAGE` tries it";
const RETRY: &str =
    "try again with a network, or fetch the evidence before: `hallmark client fetch PACKAGE`";
const OTHER_MIRROR: &str =
    "try again, or another mirror; if it stays, tell the repository's operator";

/// Judges every package.
pub fn check(config: &ClientConfig, transaction: &Transaction, now: Timestamp) -> Report {
    let mut reports: Vec<Option<PackageReport>> = vec![None; transaction.packages.len()];
    let mut remarks = Vec::new();
    let mut judged: Vec<(&VerifiedRepository, Vec<usize>)> = Vec::new();
    let known = repositories(config, transaction, now);
    for (index, package) in transaction.packages.iter().enumerate() {
        match known[index] {
            None => reports[index] = Some(stranger(config, package)),
            Some(repository) => match judged.iter_mut().find(|(known, _)| *known == repository) {
                Some((_, indexes)) => indexes.push(index),
                None => judged.push((repository, vec![index])),
            },
        }
    }
    for (repository, indexes) in judged {
        let packages = indexes.iter().map(|index| &transaction.packages[*index]);
        let asked = Asked {
            repository,
            packages: packages.collect(),
            transaction,
        };
        let found = of_repository(config, &asked, now, &mut remarks);
        for (index, report) in indexes.into_iter().zip(found) {
            reports[index] = Some(report);
        }
    }
    Report::new(
        config.mode,
        reports.into_iter().flatten().collect(),
        remarks,
    )
}

/// Who vouches for each package, if anybody who is named does.
fn repositories<'c>(
    config: &'c ClientConfig,
    transaction: &Transaction,
    now: Timestamp,
) -> Vec<Option<&'c VerifiedRepository>> {
    let packages = &transaction.packages;
    let named = packages.iter().map(|package| {
        let urls = transaction.urls(&package.repo_id);
        config.repository(&package.repo_id, urls)
    });
    let mut known: Vec<_> = named.collect();
    let is_open = |index: &usize| known[*index].is_none() && is_kept(&packages[*index].repo_id);
    let open: Vec<usize> = (0..packages.len()).filter(is_open).collect();
    let kept: Vec<&Incoming> = open.iter().map(|index| &packages[*index]).collect();
    for (index, repository) in open.into_iter().zip(whose(config, &kept, now)) {
        known[index] = repository;
    }
    known
}

fn stranger(config: &ClientConfig, package: &Incoming) -> PackageReport {
    match config.others {
        Others::Pass => PackageReport::not_looked_at(&package.nevra, &package.repo_id),
        Others::Refuse => PackageReport::refused(
            &package.nevra,
            &package.repo_id,
            "its repository is not one that is verified, and `others` is \"refuse\"".to_owned(),
            "name the repository in /etc/hallmark/client.toml, if it is one of Hallmark's",
        ),
    }
}

/// Why nothing of a repository can be judged.
#[derive(Debug, Clone)]
pub(super) struct Blocked {
    pub(super) why: String,
    hint: &'static str,
}

impl Blocked {
    fn by(error: &(dyn std::error::Error + 'static), hint: &'static str) -> Self {
        Self {
            why: chain(error),
            hint,
        }
    }

    fn report(&self, package: &Incoming) -> PackageReport {
        PackageReport::refused(
            &package.nevra,
            &package.repo_id,
            self.why.clone(),
            self.hint,
        )
    }
}

/// Packages that one repository vouches for.
struct Asked<'a> {
    repository: &'a VerifiedRepository,
    packages: Vec<&'a Incoming>,
    transaction: &'a Transaction,
}

fn of_repository(
    config: &ClientConfig,
    asked: &Asked<'_>,
    now: Timestamp,
    remarks: &mut Vec<String>,
) -> Vec<PackageReport> {
    let packages = &asked.packages;
    let looking = match Looking::begin(config, asked.repository, now) {
        Ok(looking) => looking,
        Err(blocked) => return packages.iter().map(|one| blocked.report(one)).collect(),
    };
    let mut judging = Judging::new(asked);
    if looking.away().is_none() {
        judging.look(&looking, &(0..packages.len()).collect::<Vec<_>>());
        return judging.finish(remarks);
    }
    // Each of the package manager's repositories has copies of its own, with its own lists in them.
    let repo_ids: BTreeSet<&str> = packages.iter().map(|one| &*one.repo_id).collect();
    for repo_id in repo_ids {
        let is_of = |index: &usize| packages[*index].repo_id == repo_id;
        let mut left: Vec<usize> = (0..packages.len()).filter(is_of).collect();
        for url in copies(asked.repository, asked.transaction, repo_id) {
            if left.is_empty() {
                break;
            }
            if let Some(by_copy) = looking.by_copy(repo_id, &url) {
                left = judging.look(&by_copy, &left);
            }
        }
        if !left.is_empty() {
            judging.look(&looking, &left);
        }
    }
    judging.finish(remarks)
}

/// What was found out of packages until now.
struct Judging<'a> {
    asked: &'a Asked<'a>,
    /// The first refusal of each is told: what is tried after that may know less.
    reports: Vec<Option<PackageReport>>,
    remarks: BTreeSet<String>,
}

impl<'a> Judging<'a> {
    fn new(asked: &'a Asked<'a>) -> Self {
        Self {
            asked,
            reports: vec![None; asked.packages.len()],
            remarks: BTreeSet::new(),
        }
    }

    /// Looks at these packages. Returns those that do not hold.
    fn look(&mut self, looking: &Looking, indexes: &[usize]) -> Vec<usize> {
        let packages: Vec<&Incoming> = indexes.iter().map(|i| self.asked.packages[*i]).collect();
        let found = looking.at(&used(&packages), |verifier| {
            of_packages(verifier, &packages)
        });
        let found = found.unwrap_or_else(|blocked| {
            packages
                .iter()
                .map(|package| blocked.report(package))
                .collect()
        });
        let mut left = Vec::new();
        for (index, report) in indexes.iter().zip(found) {
            let holds = report.why.is_none();
            if !holds {
                left.push(*index);
            }
            if holds || self.reports[*index].is_none() {
                self.remarks.extend(report.warnings.iter().cloned());
                self.reports[*index] = Some(report);
                if let Some(why) = looking.away() {
                    let url = &self.asked.repository.server_url;
                    let of = looking.evidence.told();
                    let remark = format!("{url} does not answer ({why}); the evidence is {of}");
                    self.remarks.insert(remark);
                }
            }
        }
        left
    }

    fn finish(self, remarks: &mut Vec<String>) -> Vec<PackageReport> {
        remarks.extend(self.remarks);
        self.reports.into_iter().flatten().collect()
    }
}

/// One repository, ready to be asked about packages.
pub(super) struct Looking {
    trust: Arc<TrustDir>,
    evidence: Origin,
    /// Why there is none is told of each package; a copy may still have it.
    common: Result<Common, Blocked>,
    now: Timestamp,
}

impl Looking {
    /// At the pack that the administrator named, or at the server with what was kept of it.
    pub(super) fn begin(
        config: &ClientConfig,
        repository: &VerifiedRepository,
        now: Timestamp,
    ) -> Result<Self, Blocked> {
        let trust = TrustDir::read(&repository.trust_dir, repository.max_age_days, now)
            .map_err(|error| Blocked::by(&error, CONFIGURE))?;
        let evidence = match &repository.pack {
            Some(path) => {
                let pack = Pack::read(path).map_err(|error| Blocked {
                    why: format!("{} is no evidence pack: {error}", path.display()),
                    hint: CONFIGURE,
                })?;
                Origin::Pack(Box::new(pack))
            }
            None => {
                let dir = evidence_dir(&config.cache_dir, repository);
                let kept = Arc::new(Cached::new(dir.clone(), server(repository)?));
                Origin::Server { kept, dir }
            }
        };
        let common = Common::ask(evidence.source()).map_err(|error| unanswered(&error));
        Ok(Self {
            trust: Arc::new(trust),
            evidence,
            common,
            now,
        })
    }

    /// The same by a copy, for a server that does not answer; none: there is no evidence there. A copy that is behind
    /// what this machine has seen is asked about packages, and what is newest is taken from what was kept.
    fn by_copy(&self, repo_id: &str, url: &str) -> Option<Self> {
        let Origin::Server { kept, dir } = &self.evidence else {
            return None;
        };
        let copy = copy_at(url, dir)?;
        let mut common = match Common::ask(&copy) {
            Ok(common) => common,
            Err(error) => {
                tracing::debug!("{url}: {}", chain(&error));
                return None;
            }
        };
        // That what was seen cannot be read is told when it is needed.
        let mut seen = Seen::read(dir).unwrap_or_default();
        let behind = self.shown(&mut seen, By::Copy(repo_id), &copy, &common);
        let mut source = CopyOrKept {
            copy,
            kept: kept.clone(),
            newest_is_kept: false,
        };
        let mut blocked = None;
        if let Err(older) = behind {
            tracing::debug!("{url}: {}", older.why);
            source.newest_is_kept = true;
            match Common::ask(&source) {
                Ok(kept) if kept.newest().is_some() => common = kept,
                _ => blocked = Some(older),
            }
        }
        Some(Self {
            trust: self.trust.clone(),
            evidence: Origin::Copy {
                source: Box::new(source),
                url: url.to_owned(),
                dir: dir.clone(),
                repo_id: repo_id.to_owned(),
            },
            common: blocked.map_or(Ok(common), Err),
            now: self.now,
        })
    }

    /// Why the server was not asked, when it should have been.
    pub(super) fn away(&self) -> Option<String> {
        self.evidence.away()
    }

    /// Whom the administrator trusts about it.
    pub(super) fn trust(&self) -> &TrustDir {
        &self.trust
    }

    /// Whether the repository has a build of this package; none: nobody says.
    pub(super) fn knows(&self, nevra: &Nevra, header: HeaderDigest) -> Option<bool> {
        let found = find(self.evidence.source(), nevra, Some(header));
        found.ok().map(|found| found.is_some())
    }

    /// Looks at packages, and then that what is shown of the repository is no older than what was seen before.
    ///
    /// * `used`: digests of the metadata that the package manager chose from, by its names for the repositories.
    pub(super) fn at<T>(
        &self,
        used: &BTreeMap<String, FileDigest>,
        packages: impl FnOnce(&Verifier<'_>) -> T,
    ) -> Result<T, Blocked> {
        let source = self.evidence.source();
        let common = self.common.as_ref().map_err(Clone::clone)?;
        let found = packages(&Verifier {
            trust: &self.trust,
            source,
            common,
            now: self.now,
        });
        if let Some(dir) = self.evidence.dir() {
            self.remember(source, common, dir, used)?;
        }
        Ok(found)
    }

    /// What is shown must not be older than what was shown before.
    fn remember(
        &self,
        source: &dyn Source,
        common: &Common,
        dir: &Path,
        used: &BTreeMap<String, FileDigest>,
    ) -> Result<(), Blocked> {
        let unusable = |error: std::io::Error| Blocked {
            why: format!("cannot keep what was seen in {}: {error}", dir.display()),
            hint: CONFIGURE,
        };
        let mut seen = Seen::read(dir).map_err(unusable)?;
        let old = |why: String| Blocked {
            why,
            hint: OTHER_MIRROR,
        };
        // Once more, after all proofs: what is kept last must not be behind them.
        self.shown(&mut seen, self.evidence.shown_by(), source, common)?;
        let trust = &self.trust.trust;
        for (repo_id, repomd) in used {
            let standing = standing(common.releases(), *repomd);
            let before = seen.used(repo_id);
            if let Some(why) = problem(&standing, before, trust.max_age_days, self.now) {
                return Err(old(why));
            }
            if let Standing::Current(release) | Standing::Replaced { release, .. } = standing {
                seen.uses(repo_id, release);
            }
        }
        seen.keep(dir).map_err(unusable)
    }

    /// Takes in the newest release and the head of the log that a source shows.
    fn shown(
        &self,
        seen: &mut Seen,
        by: By<'_>,
        source: &dyn Source,
        common: &Common,
    ) -> Result<(), Blocked> {
        let trust = &self.trust.trust;
        let old = |why: String| Blocked {
            why,
            hint: OTHER_MIRROR,
        };
        // What is not rightly signed is told by the chains.
        let newest = common.newest_bundle();
        if let Some(Ok(document)) = newest.map(|bundle| open_release(trust, bundle)) {
            seen.release(by, &document).map_err(old)?;
        }
        let note = source.fetch(&Item::Checkpoint);
        let note = note.map_err(|error| unanswered(&error))?;
        if let Some(note) = note.and_then(|note| Note::parse(&note).ok()) {
            seen.log(by, trust, &note).map_err(old)?;
        }
        Ok(())
    }
}

fn server(repository: &VerifiedRepository) -> Result<Option<Server>, Blocked> {
    if repository.offline {
        return Ok(None);
    }
    let client = Client::new(&repository.server_url, None).map_err(|_| Blocked {
        why: format!("`{}` is no server's URL", repository.server_url),
        hint: CONFIGURE,
    })?;
    Ok(Some(Server(client)))
}

fn of_packages(verifier: &Verifier<'_>, packages: &[&Incoming]) -> Vec<PackageReport> {
    let paths: Vec<&PathBuf> = packages.iter().flat_map(|one| &one.paths).collect();
    let mut chains = Vec::with_capacity(paths.len());
    let read = |path: &&PathBuf| Subject::of_file(path);
    verifier.chains(&paths, read, |_, chain| chains.push(chain));
    let mut chains = chains.into_iter();
    let report = |package: &&Incoming| {
        let count = package.paths.len();
        of_package(package, chains.by_ref().take(count).collect())
    };
    packages.iter().map(report).collect()
}

/// Every file that might be the one must hold; the first that does not is told.
fn of_package(
    package: &Incoming,
    chains: Vec<Result<Option<Chain>, SubjectError>>,
) -> PackageReport {
    let refused = |why: String, hint: &str| {
        PackageReport::refused(&package.nevra, &package.repo_id, why, hint)
    };
    let mut last = None;
    for chain in chains {
        let report = match chain {
            Ok(Some(chain)) => PackageReport::of_chain(&package.nevra, &package.repo_id, &chain),
            Ok(None) => refused("the repository does not know it".to_owned(), DO_NOT),
            Err(SubjectError::Source(error)) => {
                let Blocked { why, hint } = unanswered(&error);
                refused(why, hint)
            }
            Err(error) => refused(crate::failure::chain(&error), DO_NOT),
        };
        if report.why.is_some() {
            return report;
        }
        last = Some(report);
    }
    last.unwrap_or_else(|| {
        refused(
            "its file cannot be found in the package manager's cache".to_owned(),
            "`dnf clean packages`, and try again",
        )
    })
}

fn unanswered(error: &SourceError) -> Blocked {
    let hint = match error {
        SourceError::Away { .. } | SourceError::Read { .. } => RETRY,
        error if is_transient(error) => RETRY,
        SourceError::Asked(_) | SourceError::Digest { .. } | SourceError::Shape { .. } => {
            OTHER_MIRROR
        }
        SourceError::Write { .. } => CONFIGURE,
    };
    Blocked::by(error, hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::config::{Mode, parse};
    use crate::client::report::Outcome;

    fn transaction() -> Transaction {
        serde_json::from_value(serde_json::json!({
            "repositories": [{"id": "ours", "urls": ["http://127.0.0.1:9/stable/"]}, {"id": "theirs", "urls": []}],
            "packages": [
                {"nevra": "a-1-1.noarch", "repo_id": "ours", "paths": ["/nonexistent/a.rpm"]},
                {"nevra": "b-1-1.noarch", "repo_id": "theirs", "paths": []},
                {"nevra": "c-1-1.noarch", "repo_id": "ours", "paths": []},
                {"nevra": "d-1-1.noarch", "repo_id": "_dnf_local", "paths": []},
            ]
        }))
        .unwrap()
    }

    fn outcomes(settings: &str) -> (Report, Vec<Outcome>) {
        let config = format!(
            "{settings}\n[[repository]]\nserver_url = \"http://127.0.0.1:9\"\ntrust_dir = \"/nonexistent/trust\"\n"
        );
        let config = parse(&config).unwrap();
        let report = check(&config, &transaction(), Timestamp::from_unix_secs(0));
        let outcomes = report.packages.iter().map(|package| package.outcome);
        let outcomes = outcomes.collect();
        (report, outcomes)
    }

    #[test]
    fn what_cannot_be_judged_is_refused_and_the_order_stays() {
        use Outcome::{NotLookedAt, Refused};
        let (report, found) = outcomes("");
        assert_eq!(found, [Refused, NotLookedAt, Refused, Refused]);
        assert!(!report.may_go_on);
        let why = report.packages[0].why.as_deref().unwrap();
        assert!(why.starts_with("cannot read /nonexistent/trust/"), "{why}");
        let (_, found) = outcomes("others = \"refuse\"");
        assert_eq!(found, [Refused; 4]);
        let (report, _) = outcomes("mode = \"warn\"");
        assert_eq!((report.may_go_on, report.mode), (true, Mode::Warn));
        assert!(!report.message.is_empty());
    }
}
