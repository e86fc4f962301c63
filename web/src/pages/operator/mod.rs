//! `/operator/…`: what people see who run the repository, behind a log-in. Every form sends the session's
//! secret back, and works without JavaScript.

pub(crate) mod audit;
pub(crate) mod decide;
pub(crate) mod held;
pub(crate) mod keys;
pub(crate) mod log_in;
pub(crate) mod queue;
pub(crate) mod tokens;

use super::{Frame, Here, Nav, Site};
use crate::text::When;
use repo_model::Timestamp;
use repo_model::wire::operator::AuditLine;

/// Who is logged in, for every page behind the log-in.
#[derive(Debug, Clone, Copy)]
pub struct Desk<'a> {
    /// The server.
    pub site: &'a Site<'a>,
    /// Name of the token.
    pub who: &'a str,
    /// Secret of the session, which every form sends back.
    pub csrf: &'a str,
    /// What was done just now, as a sentence.
    pub done: Option<&'a str>,
    /// The time now.
    pub now: Timestamp,
}

/// Which of the pages it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Queue,
    Held,
    Tokens,
    Keys,
    Audit,
    Elsewhere,
}

impl<'a> Desk<'a> {
    fn frame(&self, title: impl Into<String>) -> Frame<'a> {
        Frame::new(self.site, title, Here::Elsewhere)
    }
}

fn tabs(at: At) -> Vec<Nav> {
    [
        ("/operator", "Queue", At::Queue),
        ("/operator/held", "Held", At::Held),
        ("/operator/tokens", "Tokens", At::Tokens),
        ("/operator/keys", "Keys", At::Keys),
        ("/operator/audit", "Audit trail", At::Audit),
    ]
    .map(|(href, words, of)| Nav {
        href: href.to_owned(),
        words: words.to_owned(),
        current: of == at,
    })
    .into()
}

/// One line of the audit trail.
pub(crate) struct TrailRow<'a> {
    pub at: When,
    pub actor: &'a str,
    pub action: &'a str,
    pub subject: &'a str,
    /// Page of the subject, when it has one.
    pub href: Option<String>,
    pub detail: &'a str,
}

impl<'a> From<&'a AuditLine> for TrailRow<'a> {
    fn from(line: &'a AuditLine) -> Self {
        let build = line.subject.strip_prefix("build ");
        let build = build.and_then(|number| number.parse().ok());
        Self {
            at: line.at.into(),
            actor: &line.actor,
            action: &line.action,
            subject: &line.subject,
            href: build.map(crate::url::build),
            detail: &line.detail,
        }
    }
}

/// For how long something is so: `12 min`, `5 h`, `3 days`.
fn age(since: Timestamp, now: Timestamp) -> String {
    let secs = now.unix_secs().saturating_sub(since.unix_secs()).max(0);
    match secs {
        0..60 => format!("{secs} s"),
        60..3_600 => format!("{} min", secs / 60),
        3_600..172_800 => format!("{} h", secs / 3_600),
        _ => format!("{} days", secs / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_in_the_unit_that_fits() {
        let now = Timestamp::from_unix_secs(10_000_000);
        for (secs, want) in [
            (-5, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (7_199, "1 h"),
            (172_799, "47 h"),
            (172_800, "2 days"),
        ] {
            assert_eq!(age(now.plus_secs(-secs), now), want);
        }
    }

    #[test]
    fn lines_about_a_build_lead_to_it_and_others_nowhere() {
        let line = |subject: &str| AuditLine {
            line: 1,
            at: Timestamp::default(),
            actor: "alice".to_owned(),
            action: "retry".to_owned(),
            subject: subject.to_owned(),
            detail: String::new(),
        };
        let href = |subject: &str| TrailRow::from(&line(subject)).href;
        assert_eq!(href("build 17").as_deref(), Some("/builds/17"));
        assert_eq!(href("build ../x"), None);
        assert_eq!(href("token 3"), None);
    }
}
