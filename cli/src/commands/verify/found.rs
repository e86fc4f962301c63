//! What was found out about packages, and what it comes to for the reader.

use super::Args;
use crate::failure::Failure;
use crate::output;
use repo_model::verify::Chain;
use std::collections::BTreeSet;

/// Most warnings that are told; packages have them in common, as a rule.
const MAX_WARNINGS: usize = 20;

/// What was found out.
#[derive(Default)]
pub(super) struct Found {
    /// Those that are to be shown: with `--json` all, else the broken ones and the first.
    chains: Vec<Chain>,
    packages: u64,
    broken: u64,
    /// Installed, and of somebody else.
    pub(super) strangers: u64,
    /// Source packages in directories.
    pub(super) sources: u64,
    /// Why the first that could not be looked at was not.
    pub(super) failure: Option<Failure>,
    is_partial: bool,
    /// What could not be checked of packages whose chains hold, each once.
    warnings: BTreeSet<String>,
}

impl Found {
    pub(super) fn add(&mut self, args: &Args, chain: Chain) {
        self.packages += 1;
        self.broken += u64::from(!chain.holds());
        if self.warnings.len() < MAX_WARNINGS {
            let warnings = chain
                .warnings()
                .map(|link| format!("{}: {}", link.name, link.says));
            self.warnings.extend(warnings);
        }
        if args.json || !chain.holds() || self.packages == 1 {
            self.chains.push(chain);
        }
    }

    pub(super) fn fail(&mut self, failure: Failure) {
        self.is_partial = true;
        self.failure.get_or_insert(failure);
    }
}

/// The end of a run that could not look at everything: a broken chain that was found ends it before that does.
pub(super) fn partly(args: &Args, found: &Found, failure: Failure) -> Failure {
    if found.packages == 0 {
        return failure;
    }
    match report(args, found) {
        Ok(()) => failure,
        Err(broken) => {
            output::note(failure.message());
            broken
        }
    }
}

/// Shows what was found; an error says how it ends when not all holds.
pub(super) fn report(args: &Args, found: &Found) -> Result<(), Failure> {
    let Found {
        chains,
        packages,
        broken,
        strangers,
        sources,
        is_partial,
        ..
    } = found;
    if args.json {
        output::json(chains)?;
    } else if *packages == 1 {
        for one in chains {
            output::raw(one.to_string().as_bytes())?;
        }
    } else {
        for chain in chains.iter().filter(|chain| !chain.holds()) {
            output::raw(chain.to_string().as_bytes())?;
        }
        let good = packages - broken;
        let rest = match is_partial {
            true => "; not all could be looked at",
            false => "",
        };
        output::line(format!(
            "the policy holds for {good} of {packages} packages{rest}"
        ))?;
    }
    remarks(args, found);
    match broken {
        0 if *packages == 0 && *sources > 0 && *strangers == 0 => {
            Err(Failure::usage("there is nothing here that can be verified"))
        }
        0 => Ok(()),
        1 if *packages == 1 => Err(Failure::failed("the chain is broken")),
        count => Err(Failure::failed(format!(
            "the chains of {count} packages are broken"
        ))),
    }
}

/// What is to be known beside the chains.
fn remarks(args: &Args, found: &Found) {
    // A chain that is printed as a tree tells them itself.
    if args.json || found.packages != 1 {
        for warning in &found.warnings {
            output::note(format!("warning: {warning}"));
        }
    }
    if found.strangers > 0 {
        output::note(format!(
            "{} installed packages are not of this repository and were not looked at",
            found.strangers
        ));
    }
    if found.sources > 0 {
        output::note(format!(
            "{} source packages were not looked at: those are not published; the provenance of what was built \
             from them names them by digest",
            found.sources
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;
    use clap::Parser as _;
    use repo_model::HeaderDigest;
    use repo_model::verify::{Link, Outcome};

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn a_broken_chain_ends_the_run_before_what_could_not_be_looked_at() {
        let args = Line::parse_from(["verify", "a.rpm", "b.rpm"]).args;
        let end = |outcomes: &[Outcome]| {
            let mut found = Found::default();
            for outcome in outcomes {
                let link = Link {
                    name: "file",
                    outcome: *outcome,
                    says: String::new(),
                    details: Vec::new(),
                    hint: None,
                };
                let chain = Chain {
                    package: "p".to_owned(),
                    header: HeaderDigest::of(b""),
                    links: vec![link],
                };
                found.add(&args, chain);
            }
            found.is_partial = true;
            let failure = Failure::new(Exit::Unreachable, "nobody answers");
            partly(&args, &found, failure).exit
        };
        assert_eq!(end(&[]), Exit::Unreachable);
        assert_eq!(end(&[Outcome::Holds]), Exit::Unreachable);
        assert_eq!(end(&[Outcome::Broken]), Exit::Failed);
        assert_eq!(end(&[Outcome::Holds, Outcome::Broken]), Exit::Failed);
    }

    #[test]
    fn a_directory_of_source_packages_only_is_no_success() {
        let args = Line::parse_from(["verify", "evidence/"]).args;
        let found = Found {
            sources: 2,
            ..Found::default()
        };
        let end = report(&args, &found).unwrap_err();
        assert_eq!(end.exit, Exit::Usage);
        let unseen = Found::default();
        assert!(report(&args, &unseen).is_ok(), "a pack may be empty");
    }

    #[test]
    fn what_fails_first_is_told_when_nothing_else_is_found() {
        let mut found = Found::default();
        found.fail(Failure::usage("first"));
        found.fail(Failure::failed("second"));
        assert!(found.is_partial);
        let first = found.failure.map(|failure| failure.message());
        assert_eq!(first.as_deref(), Some("error: first"));
    }
}
