//! Reading a policy, and refusing one that contradicts itself.

use super::{KeyHolder, Policy};
use crate::{OperatorName, WorkerName};
use std::collections::{BTreeMap, BTreeSet};

/// Fewest and most runs that can be demanded of a flaky package.
const FLAKY_RUNS: std::ops::RangeInclusive<u32> = 2..=10;

/// The policy file cannot be used. The operator's fault; correct the file.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Not TOML of this shape.
    #[error("the policy does not parse")]
    Toml(#[source] toml::de::Error),
    /// It asks for what it makes impossible.
    #[error(
        "the policy demands {wanted} {what} but lists only {listed} that can count for one package"
    )]
    Impossible {
        /// `rebuilders` or `operators`.
        what: &'static str,
        /// Demanded.
        wanted: u32,
        /// Most that can confirm one package: those that cover its name and are not its builder's.
        listed: usize,
    },
    /// One key under two names would count twice.
    #[error("{first} and {second} have the same {what} key")]
    SharedKey {
        /// `statement` or `request`.
        what: &'static str,
        /// One holder.
        first: WorkerName,
        /// The other.
        second: WorkerName,
    },
    /// Whoever waives must not be whoever is waived.
    #[error("the waiver key of {person} is listed as somebody else's key, too")]
    WaiverKey {
        /// Whose.
        person: OperatorName,
    },
    /// Two entries of one name: which of them is meant by a statement?
    #[error("the policy lists {name} twice among its {list}")]
    SharedName {
        /// `rebuilders` or `builders`.
        list: &'static str,
        /// The name.
        name: WorkerName,
    },
    /// A number of runs that makes no sense.
    #[error("{what} is {runs}; want {} to {}", FLAKY_RUNS.start(), FLAKY_RUNS.end())]
    Runs {
        /// `flaky_runs`, or a source package's name.
        what: String,
        /// In the file.
        runs: u32,
    },
}

impl Policy {
    /// Reads a policy and refuses one that contradicts itself.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        let policy: Self = toml::from_str(text).map_err(PolicyError::Toml)?;
        policy.check()?;
        Ok(policy)
    }

    fn check(&self) -> Result<(), PolicyError> {
        self.distinct_names()?;
        self.distinct_keys()?;
        let runs = self
            .flaky
            .iter()
            .map(|entry| (entry.source.clone(), entry.runs));
        for (what, runs) in runs.chain([("flaky_runs".to_owned(), self.flaky_runs)]) {
            if !FLAKY_RUNS.contains(&runs) {
                return Err(PolicyError::Runs { what, runs });
            }
        }
        self.possible()
    }

    fn distinct_names(&self) -> Result<(), PolicyError> {
        for (list, holders) in [
            ("rebuilders", &self.rebuilders),
            ("builders", &self.builders),
        ] {
            let mut seen = BTreeSet::new();
            if let Some(twice) = holders.iter().find(|holder| !seen.insert(&holder.name)) {
                return Err(PolicyError::SharedName {
                    list,
                    name: twice.name.clone(),
                });
            }
        }
        Ok(())
    }

    fn distinct_keys(&self) -> Result<(), PolicyError> {
        let mut seen: BTreeMap<(&str, String), &WorkerName> = BTreeMap::new();
        for holder in self.rebuilders.iter().chain(&self.builders) {
            let statement = ("statement", holder.statement_key.key_id());
            let request = holder
                .request_key
                .as_ref()
                .map(|key| ("request", key.to_string()));
            for key in [Some(statement), request].into_iter().flatten() {
                let what = key.0;
                if let Some(first) = seen.insert(key, &holder.name) {
                    return Err(PolicyError::SharedKey {
                        what: if what == "request" {
                            "request"
                        } else {
                            "statement"
                        },
                        first: first.clone(),
                        second: holder.name.clone(),
                    });
                }
            }
        }
        let mut people: BTreeMap<String, &OperatorName> = BTreeMap::new();
        for signer in &self.waiver_signers {
            let key_id = signer.statement_key.key_id();
            let listed = seen.contains_key(&("statement", key_id.clone()));
            if listed || people.insert(key_id, &signer.person).is_some() {
                return Err(PolicyError::WaiverKey {
                    person: signer.person.clone(),
                });
            }
        }
        Ok(())
    }

    /// Whether some package can get the rebuilds that are demanded. Which names the prefixes leave
    /// without enough is the operator's choice.
    fn possible(&self) -> Result<(), PolicyError> {
        let everybody: Vec<&KeyHolder> = self.rebuilders.iter().collect();
        let by_builder: Vec<Vec<&KeyHolder>> = match self.require_provenance {
            true if !self.builders.is_empty() => self
                .builders
                .iter()
                .map(|builder| self.independent_of(builder))
                .collect(),
            _ => vec![everybody],
        };
        let (mut rebuilders, mut operators) = (0, 0);
        for holders in &by_builder {
            for name in self.names_to_try() {
                let covering = || holders.iter().filter(|holder| holder.covers(name));
                let distinct: BTreeSet<_> = covering().map(|holder| &holder.operator).collect();
                rebuilders = rebuilders.max(covering().count());
                operators = operators.max(distinct.len());
            }
        }
        for (what, wanted, listed) in [
            ("rebuilders", self.min_rebuilders, rebuilders),
            ("operators", self.min_operators, operators),
        ] {
            if wanted as usize > listed {
                return Err(PolicyError::Impossible {
                    what,
                    wanted,
                    listed,
                });
            }
        }
        Ok(())
    }

    fn independent_of(&self, builder: &KeyHolder) -> Vec<&KeyHolder> {
        self.rebuilders
            .iter()
            .filter(|holder| holder.operator != builder.operator)
            .collect()
    }

    /// A name of each kind that prefixes tell apart: no longer name is covered by more holders.
    fn names_to_try(&self) -> impl Iterator<Item = &str> {
        let of_holders = self
            .rebuilders
            .iter()
            .flat_map(|holder| &holder.name_prefixes);
        of_holders
            .chain(&self.name_prefixes)
            .map(String::as_str)
            .chain([""])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsse::StatementKey;
    use crate::wire::worker::RequestKey;

    fn holder(list: &str, name: &str, operator: &str, seed: u8, more: &str) -> String {
        let pem = StatementKey::from_seed(&[seed; 32])
            .unwrap()
            .public()
            .to_pem();
        format!(
            "[[{list}]]\nname = \"{name}\"\noperator = \"{operator}\"\nstatement_key = \"\"\"\n{pem}\"\"\"\n{more}\n"
        )
    }

    fn request(seed: u8) -> String {
        format!(
            "request_key = \"{}\"",
            RequestKey::from_seed(&[seed; 32]).public()
        )
    }

    fn error(head: &str, holders: &[String]) -> Option<String> {
        let text = format!(
            "version = 1\nsbom_formats = []\n{head}\n{}",
            holders.concat()
        );
        Policy::from_toml(&text)
            .err()
            .map(|error| error.to_string())
    }

    const TWO: &str = "min_rebuilders = 2\nmin_operators = 2";

    #[test]
    fn a_policy_that_contradicts_itself_is_refused() {
        let a = || holder("rebuilders", "a", "op-a", 1, "");
        let b = || holder("rebuilders", "b", "op-b", 2, "");
        let two_proven = format!("{TWO}\nrequire_provenance = true");
        assert_eq!(error(TWO, &[a(), b()]), None);
        for (what, head, holders, words) in [
            (
                "one name twice",
                TWO,
                vec![a(), holder("rebuilders", "a", "op-b", 2, "")],
                "lists a twice",
            ),
            (
                "one key twice",
                TWO,
                vec![a(), holder("rebuilders", "b", "op-b", 1, "")],
                "same statement key",
            ),
            (
                "one request key twice",
                TWO,
                vec![
                    holder("rebuilders", "a", "op-a", 1, &request(7)),
                    holder("rebuilders", "b", "op-b", 2, &request(7)),
                ],
                "same request key",
            ),
            (
                "one operator",
                TWO,
                vec![a(), holder("rebuilders", "b", "op-a", 2, "")],
                "demands 2 operators",
            ),
            (
                "no package is covered by both",
                TWO,
                vec![
                    holder("rebuilders", "a", "op-a", 1, "name_prefixes = [\"x\"]"),
                    holder("rebuilders", "b", "op-b", 2, "name_prefixes = [\"y\"]"),
                ],
                "demands 2 rebuilders",
            ),
            (
                "the builder runs one of them",
                &two_proven,
                vec![a(), b(), holder("builders", "koji", "op-b", 3, "")],
                "lists only 1",
            ),
            (
                "runs",
                &format!("{TWO}\nflaky_runs = 1"),
                vec![a(), b()],
                "flaky_runs is 1",
            ),
        ] {
            let said = error(head, &holders).unwrap_or_default();
            assert!(said.contains(words), "{what}: {said}");
        }
        let nested = [
            holder("rebuilders", "a", "op-a", 1, "name_prefixes = [\"lib\"]"),
            holder("rebuilders", "b", "op-b", 2, "name_prefixes = [\"libx\"]"),
        ];
        assert_eq!(error(TWO, &nested), None, "libx… is covered by both");
        let another = [a(), b(), holder("builders", "koji", "op-k", 3, "")];
        assert_eq!(error(&two_proven, &another), None);
    }

    #[test]
    fn what_two_or_more_rebuilders_imply_can_be_switched_off() {
        let read = |more: &str| {
            let holders = [1_u8, 2].map(|seed| {
                holder(
                    "rebuilders",
                    &format!("r{seed}"),
                    &format!("o{seed}"),
                    seed,
                    "",
                )
            });
            let text = format!(
                "version = 1\nsbom_formats = []\n{more}\n{}",
                holders.concat()
            );
            Policy::from_toml(&text).unwrap()
        };
        let two = read(TWO);
        assert!(two.demands_commitments() && two.demands_plain());
        let off = read(&format!(
            "{TWO}\ncommit_reveal = false\nrequire_plain = false"
        ));
        assert!(!off.demands_commitments() && !off.demands_plain());
        let one = read("min_rebuilders = 1\nmin_operators = 1");
        assert!(!one.demands_commitments() && !one.demands_plain());
        assert_eq!((one.runs("x", false), one.runs("x", true)), (1, 3));
    }
}
