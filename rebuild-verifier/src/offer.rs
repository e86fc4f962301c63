//! Which challenge profiles this machine offers to the server.

use crate::doctor;
use crate::profile::{self, PROFILES, Profile};
use repo_model::config::RebuilderConfig;
use std::path::Path;

/// `rebuilder.profiles` asks for what cannot be. The operator's fault.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    /// No such profile.
    #[error("rebuilder.profiles has `{name}`; known are {known}")]
    Unknown {
        /// As configured.
        name: String,
        /// All there are.
        known: String,
    },
    /// The machine lacks something.
    #[error("rebuilder.profiles has `{name}`, but {why}")]
    Unable {
        /// As configured.
        name: String,
        /// What is missing.
        why: String,
    },
}

/// The profiles of the configuration, when this machine can do what they ask for; none there: all that
/// it can, but for those that have to be named.
pub fn offered(config: &RebuilderConfig) -> Result<Vec<&'static Profile>, OfferError> {
    if config.profiles.is_empty() {
        let usual = PROFILES.iter().filter(|row| row.is_usual());
        let can = usual.filter(|row| can(row, config).is_ok());
        return Ok(can.collect());
    }
    let offer = |name: &String| {
        let found = profile::profile(name).ok_or_else(|| OfferError::Unknown {
            name: name.clone(),
            known: PROFILES
                .iter()
                .map(|row| row.name)
                .collect::<Vec<_>>()
                .join(", "),
        })?;
        can(found, config).map_err(|why| OfferError::Unable {
            name: name.clone(),
            why,
        })?;
        Ok(found)
    };
    config.profiles.iter().map(offer).collect()
}

/// A job given out with a profile that then does not work would be lost time for everybody.
fn can(row: &Profile, config: &RebuilderConfig) -> Result<(), String> {
    row.can(Path::new("/")).map_err(|error| error.to_string())?;
    if row.is_reversed() {
        doctor::reverses_directories(config)?;
    }
    if row.is_later() {
        doctor::moves_clock(config)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_day_is_offered_to_those_only_who_name_it() {
        assert!(profile::profile("later-day").is_some_and(|row| !row.is_usual()));
        let unasked = offered(&RebuilderConfig::default()).unwrap();
        assert!(unasked.iter().all(|row| row.name != "later-day"));
    }

    #[test]
    fn a_profile_that_there_is_not_is_refused_with_those_that_there_are() {
        let config = RebuilderConfig {
            profiles: vec!["plain".to_owned(), "colourful".to_owned()],
            ..RebuilderConfig::default()
        };
        let error = offered(&config).unwrap_err().to_string();
        assert!(
            error.contains("`colourful`") && error.contains("plain, one-cpu"),
            "{error}"
        );
    }
}
