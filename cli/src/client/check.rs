//! Judges a transaction: each package by the repository that vouches for it, all of one repository with one
//! look at its newest release.

use super::config::{ClientConfig, Others, VerifiedRepository};
use super::metadata::{Standing, problem, standing, used};
use super::origin::{CopyOrKept, Origin, copies, evidence_dir, first_copy};
use super::report::{PackageReport, Report};
use super::seen::Seen;
use super::transaction::{Incoming, Transaction};
use crate::api::Client;
use crate::failure::chain;
use crate::verify::{
    Cached, Common, Item, Pack, Server, Source, SourceError, Subject, SubjectError, TrustDir,
    Verifier, is_transient,
};
use repo_model::log::Note;
use repo_model::verify::{Chain, open_release};
use repo_model::{FileDigest, Timestamp};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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
    for (index, package) in transaction.packages.iter().enumerate() {
        let urls = transaction.urls(&package.repo_id);
        match config.repository(&package.repo_id, urls) {
            None => reports[index] = Some(stranger(config, package)),
            Some(repository) => match judged.iter_mut().find(|(known, _)| *known == repository) {
                Some((_, indexes)) => indexes.push(index),
                None => judged.push((repository, vec![index])),
            },
        }
    }
    for (repository, indexes) in judged {
        let packages: Vec<&Incoming> = indexes
            .iter()
            .map(|index| &transaction.packages[*index])
            .collect();
        let asked = Asked {
            repository,
            copies: copies(repository, transaction, &packages),
            packages,
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
}

/// Packages that one repository vouches for.
struct Asked<'a> {
    repository: &'a VerifiedRepository,
    packages: Vec<&'a Incoming>,
    /// Copies of it that may answer when its server does not.
    copies: Vec<String>,
}

fn of_repository(
    config: &ClientConfig,
    asked: &Asked<'_>,
    now: Timestamp,
    remarks: &mut Vec<String>,
) -> Vec<PackageReport> {
    match look(config, asked, now, remarks) {
        Ok(reports) => reports,
        Err(Blocked { why, hint }) => asked
            .packages
            .iter()
            .map(|package| {
                PackageReport::refused(&package.nevra, &package.repo_id, why.clone(), hint)
            })
            .collect(),
    }
}

fn look(
    config: &ClientConfig,
    asked: &Asked<'_>,
    now: Timestamp,
    remarks: &mut Vec<String>,
) -> Result<Vec<PackageReport>, Blocked> {
    let Asked {
        repository,
        packages,
        copies,
    } = asked;
    let looking = Looking::begin(config, repository, copies, now)?;
    let reports = looking.at(&used(packages), |verifier| of_packages(verifier, packages))?;
    if let Some(why) = looking.away() {
        let of = match looking.copy() {
            Some(url) => format!("that of {url}"),
            None => "what was kept before".to_owned(),
        };
        remarks.push(format!(
            "{} does not answer ({why}); the evidence is {of}",
            repository.server_url
        ));
    }
    Ok(reports)
}

/// One repository, ready to be asked about packages.
pub(super) struct Looking {
    trust: TrustDir,
    evidence: Origin,
    common: Common,
    now: Timestamp,
}

impl Looking {
    /// * `copies`: URLs of copies that may answer when the server does not.
    pub(super) fn begin(
        config: &ClientConfig,
        repository: &VerifiedRepository,
        copies: &[String],
        now: Timestamp,
    ) -> Result<Self, Blocked> {
        let trust = TrustDir::read(&repository.trust_dir, repository.max_age_days, now)
            .map_err(|error| Blocked::by(&error, CONFIGURE))?;
        let ask = |source: &dyn Source| Common::ask(source).map_err(|error| unanswered(&error));
        let (evidence, common) = match &repository.pack {
            Some(path) => {
                let pack = Pack::read(path).map_err(|error| Blocked {
                    why: format!("{} is no evidence pack: {error}", path.display()),
                    hint: CONFIGURE,
                })?;
                let common = ask(&pack)?;
                (Origin::Pack(Box::new(pack)), common)
            }
            None => {
                let dir = evidence_dir(&config.cache_dir, repository);
                let cached = Cached::new(dir.clone(), server(repository)?);
                let asked = ask(&cached);
                match cached.away().and_then(|_| first_copy(copies)) {
                    Some((copy, url)) => {
                        let kept = cached;
                        let source = Box::new(CopyOrKept { copy, kept });
                        let common = ask(&*source)?;
                        (Origin::Copy { source, url, dir }, common)
                    }
                    None => (Origin::Server { cached, dir }, asked?),
                }
            }
        };
        Ok(Self {
            trust,
            evidence,
            common,
            now,
        })
    }

    /// Why the server was not asked, when it should have been.
    pub(super) fn away(&self) -> Option<String> {
        match &self.evidence {
            Origin::Pack(_) => None,
            Origin::Server { cached, .. } => cached.away(),
            Origin::Copy { source, .. } => source.kept.away(),
        }
    }

    /// The copy that answers in its place.
    fn copy(&self) -> Option<&str> {
        match &self.evidence {
            Origin::Copy { url, .. } => Some(url),
            Origin::Pack(_) | Origin::Server { .. } => None,
        }
    }

    /// Looks at packages, and then that what is shown of the repository is no older than what was seen before.
    ///
    /// * `used`: digests of the metadata that the package manager chose from, by its names for the repositories.
    pub(super) fn at<T>(
        &self,
        used: &BTreeMap<String, FileDigest>,
        packages: impl FnOnce(&Verifier<'_>) -> T,
    ) -> Result<T, Blocked> {
        let (source, common) = (self.evidence.source(), &self.common);
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
        let old = |why: String| Blocked {
            why,
            hint: OTHER_MIRROR,
        };
        let trust = &self.trust.trust;
        let mut seen = Seen::read(dir).map_err(unusable)?;
        // What is not rightly signed is told by the chains.
        let newest = common.newest_bundle();
        if let Some(Ok(document)) = newest.map(|bundle| open_release(trust, bundle)) {
            seen.release(&document).map_err(old)?;
        }
        // Once more, after all proofs: what is kept last must not be behind them.
        let note = source.fetch(&Item::Checkpoint);
        let note = note.map_err(|error| unanswered(&error))?;
        if let Some(note) = note.and_then(|note| Note::parse(&note).ok()) {
            seen.log(&self.trust, &note).map_err(old)?;
        }
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
        assert_eq!(found, [Refused, NotLookedAt, Refused]);
        assert!(!report.may_go_on);
        let why = report.packages[0].why.as_deref().unwrap();
        assert!(why.starts_with("cannot read /nonexistent/trust/"), "{why}");
        let (_, found) = outcomes("others = \"refuse\"");
        assert_eq!(found, [Refused, Refused, Refused]);
        let (report, _) = outcomes("mode = \"warn\"");
        assert_eq!((report.may_go_on, report.mode), (true, Mode::Warn));
        assert!(!report.message.is_empty());
    }
}
