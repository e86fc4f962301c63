//! The stages of a build and the only ways from one to another.

use crate::ReleaseId;
use crate::policy::Reason;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where a build is. A build moves as a whole: its packages are approved, signed and published
/// together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "kebab-case")]
pub enum Stage {
    /// Stored; SBOMs and rebuilds are being made.
    Received,
    /// The policy lets it go out; waiting for signatures.
    Approved,
    /// The policy does not let it go out as things are; everything is kept.
    Held {
        /// Why, most important first.
        reasons: Vec<Reason>,
    },
    /// It will never go out with these bytes.
    Rejected {
        /// Why.
        reasons: Vec<Reason>,
    },
    /// Signed; waiting for the next release.
    Signed,
    /// In a release.
    Published {
        /// The first release that has it.
        release: ReleaseId,
    },
}

/// What happens to a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The policy lets it go out.
    Approved,
    /// The policy holds it.
    Held(Vec<Reason>),
    /// The policy or an operator rejects it.
    Rejected(Vec<Reason>),
    /// All its packages are signed.
    Signed,
    /// A release has it.
    Published(ReleaseId),
    /// Somebody asks for another try, or new evidence arrived.
    Retried,
}

/// The event cannot happen in this stage: another worker was first, or the caller is wrong. Read
/// the build again; do not retry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a build that is {from} cannot become {to}")]
pub struct StageError {
    from: &'static str,
    to: &'static str,
}

impl Stage {
    /// Short name: `received`, `held`, ...
    pub fn name(&self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Approved => "approved",
            Self::Held { .. } => "held",
            Self::Rejected { .. } => "rejected",
            Self::Signed => "signed",
            Self::Published { .. } => "published",
        }
    }

    /// Why it is held or rejected; empty in other stages.
    pub fn reasons(&self) -> &[Reason] {
        match self {
            Self::Held { reasons } | Self::Rejected { reasons } => reasons,
            Self::Received | Self::Approved | Self::Signed | Self::Published { .. } => &[],
        }
    }

    /// The stage after `event`.
    pub fn after(self, event: Event) -> Result<Self, StageError> {
        let from = self.name();
        let next = match event {
            Event::Approved => Self::Approved,
            Event::Held(reasons) => Self::Held { reasons },
            Event::Rejected(reasons) => Self::Rejected { reasons },
            Event::Signed => Self::Signed,
            Event::Published(release) => Self::Published { release },
            Event::Retried => Self::Received,
        };
        // The signer may refuse what the server approved: then the build is held or rejected. What is signed
        // may be revoked before a release has it. What is held, an operator may turn away.
        let allowed = match (&self, &next) {
            (Self::Received, Self::Approved | Self::Held { .. } | Self::Rejected { .. })
            | (Self::Approved, Self::Signed | Self::Held { .. } | Self::Rejected { .. })
            | (Self::Signed, Self::Published { .. } | Self::Rejected { .. })
            | (Self::Held { .. }, Self::Received | Self::Rejected { .. }) => true,
            (
                Self::Received
                | Self::Approved
                | Self::Held { .. }
                | Self::Rejected { .. }
                | Self::Signed
                | Self::Published { .. },
                _,
            ) => false,
        };
        if allowed {
            Ok(next)
        } else {
            Err(StageError {
                from,
                to: next.name(),
            })
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_stage() -> Vec<Stage> {
        let reasons = vec![Reason::ProvenanceMissing];
        vec![
            Stage::Received,
            Stage::Approved,
            Stage::Held {
                reasons: reasons.clone(),
            },
            Stage::Rejected { reasons },
            Stage::Signed,
            Stage::Published {
                release: ReleaseId(1),
            },
        ]
    }

    #[test]
    fn only_approved_builds_can_be_signed_and_only_signed_ones_published() {
        for stage in every_stage() {
            let signed = stage.clone().after(Event::Signed);
            assert_eq!(signed.is_ok(), stage == Stage::Approved, "{stage:?}");
            let published = stage.clone().after(Event::Published(ReleaseId(1)));
            assert_eq!(published.is_ok(), stage == Stage::Signed, "{stage:?}");
        }
    }

    #[test]
    fn what_is_out_or_rejected_cannot_be_rejected() {
        for stage in every_stage() {
            let rejected = stage.clone().after(Event::Rejected(Vec::new()));
            let is_over = matches!(stage, Stage::Published { .. } | Stage::Rejected { .. });
            assert_eq!(rejected.is_ok(), !is_over, "{stage:?}");
        }
    }

    #[test]
    fn a_held_build_can_be_tried_again_and_a_rejected_one_cannot() {
        for stage in every_stage() {
            let retried = stage.clone().after(Event::Retried);
            assert_eq!(
                retried.is_ok(),
                matches!(stage, Stage::Held { .. }),
                "{stage:?}"
            );
        }
    }
}
