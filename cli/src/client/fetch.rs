//! Evidence ahead of time: what a check will need is fetched and kept, by doing the check.

use super::check::{Blocked, Looking};
use super::config::{ClientConfig, VerifiedRepository};
use crate::failure::chain;
use crate::verify::{Subject, SubjectError};
use repo_model::verify::Chain;
use repo_model::{Nevra, Timestamp};
use std::collections::BTreeMap;
use std::path::Path;

/// What became of one package.
#[derive(Debug, PartialEq, Eq)]
pub struct Fetched {
    /// As it was asked for.
    pub package: String,
    /// Why it would be refused; none: it holds.
    pub problem: Option<String>,
}

/// Fetches the evidence of files and NEVRAs of one repository, and keeps it.
pub fn fetch(
    config: &ClientConfig,
    repository: &VerifiedRepository,
    packages: &[String],
    now: Timestamp,
) -> Result<Vec<Fetched>, String> {
    let told = |blocked: Blocked| blocked.why;
    let looking = Looking::begin(config, repository, now).map_err(told)?;
    let fetched = looking
        .at(&BTreeMap::new(), |verifier| {
            let mut fetched = Vec::with_capacity(packages.len());
            verifier.chains(
                packages,
                |package| subject(package),
                |package, chain| {
                    fetched.push(of_package(package, chain));
                },
            );
            fetched
        })
        .map_err(told)?;
    match looking.away() {
        Some(why) => Err(format!("{} does not answer: {why}", repository.server_url)),
        None => Ok(fetched),
    }
}

fn of_package(package: &str, found: Result<Option<Chain>, Problem>) -> Fetched {
    let problem = match found {
        Err(Problem(problem)) => Some(problem),
        Ok(None) => Some("the repository does not know it".to_owned()),
        Ok(Some(chain)) => chain
            .first_broken()
            .map(|link| format!("{} is broken: {}", link.name, link.says)),
    };
    Fetched {
        package: package.to_owned(),
        problem,
    }
}

/// Why there is no chain, in words.
struct Problem(String);

impl From<SubjectError> for Problem {
    fn from(error: SubjectError) -> Self {
        Self(chain(&error))
    }
}

fn subject(package: &str) -> Result<Subject, Problem> {
    let path = Path::new(package);
    if path.is_file() {
        return Ok(Subject::of_file(path)?);
    }
    let nevra: Result<Nevra, _> = package.parse();
    nevra
        .map(Subject::Named)
        .map_err(|_| Problem("it is neither a file nor a NEVRA".to_owned()))
}
