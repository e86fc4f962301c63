//! What people and scripts read: data to stdout, all else to stderr.

use hallmark_signer::desk::OpenError;
use hallmark_signer::rules::RulesError;
use hallmark_signer::server::ServeError;
use repo_model::trust::TrustError;
use std::io::{self, Write as _};

/// One line of data.
pub fn line(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(io::stdout().lock(), "{text}")?)
}

/// A remark.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// An error with its causes, each once, and what to do about it where that is known.
pub fn error(error: &anyhow::Error) {
    let mut out = io::stderr().lock();
    let _ = writeln!(out, "error: {error:#}");
    if let Some(hint) = hint(error) {
        let _ = writeln!(out, "hint: {hint}");
    }
}

/// What to do next about a policy that is not there, or is not signed.
fn hint(error: &anyhow::Error) -> Option<&'static str> {
    error.chain().find_map(|cause| {
        if let Some(TrustError::Signatures { .. }) = cause.downcast_ref() {
            return Some("a holder adds a signature with `hallmark-signer root sign DIR --key FILE`");
        }
        let rules = match cause.downcast_ref() {
            Some(ServeError::Open(OpenError::Rules(rules))) => Some(rules),
            _ => cause.downcast_ref(),
        };
        match rules {
            Some(RulesError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Some("`hallmark-signer root policy DIR FILE` takes a policy in, `root sign` signs it; copy DIR here")
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_is_missing_or_unsigned_has_a_hint() {
        let missing = RulesError::Read {
            path: "policy.toml".into(),
            source: io::ErrorKind::NotFound.into(),
        };
        let missing = anyhow::Error::new(ServeError::Open(OpenError::Rules(missing)));
        assert!(hint(&missing).is_some_and(|hint| hint.contains("root policy")));
        let unsigned = anyhow::Error::new(TrustError::Signatures {
            file: "targets.json".to_owned(),
            have: 0,
            want: 2,
            by: "root 1".to_owned(),
        });
        let unsigned = unsigned.context("policy cannot be used");
        assert!(hint(&unsigned).is_some_and(|hint| hint.contains("root sign")));
        assert_eq!(hint(&anyhow::anyhow!("no disk")), None);
    }
}
