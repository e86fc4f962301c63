//! `/operator/tokens`: who may do what; a new token is shown once.

use super::{At, Desk, Nav, tabs};
use crate::RenderError;
use crate::pages::Frame;
use crate::text::{Chip, Tone, When};
use askama::Template;
use repo_model::Timestamp;
use repo_model::wire::operator::{CreatedToken, MAX_TOKEN_DAYS, MAX_TOKEN_NAME_CHARS, TokenStatus};

/// The tokens.
#[derive(Debug, Clone, Copy)]
pub struct TokensView<'a> {
    /// Who looks.
    pub desk: Desk<'a>,
    /// By number.
    pub tokens: &'a [TokenStatus],
    /// Whether whoever looks may make and revoke tokens.
    pub may_manage: bool,
    /// The token that was made just now; its secret is on this page and nowhere else.
    pub made: Option<&'a CreatedToken>,
    /// Names of the repositories that publishing can be limited to.
    pub repos: &'a [String],
}

#[derive(Template)]
#[template(path = "operator/tokens.html")]
struct Page<'a> {
    frame: Frame<'a>,
    desk: Desk<'a>,
    tabs: Vec<Nav>,
    rows: Vec<Row<'a>>,
    may_manage: bool,
    made: Option<&'a CreatedToken>,
    made_ends: Option<When>,
    scopes: Vec<Choice>,
    max_days: u32,
    max_name_chars: usize,
}

struct Row<'a> {
    token: &'a TokenStatus,
    state: Chip,
    made: When,
    ends: Option<When>,
    is_good: bool,
}

struct Choice {
    id: String,
    scope: String,
    about: &'static str,
}

/// Renders the tokens.
pub fn tokens(view: &TokensView<'_>) -> Result<String, RenderError> {
    let now = view.desk.now;
    Page {
        frame: view.desk.frame("Tokens"),
        desk: view.desk,
        tabs: tabs(At::Tokens),
        rows: view.tokens.iter().map(|token| row(token, now)).collect(),
        may_manage: view.may_manage,
        made: view.made,
        made_ends: view.made.map(|made| made.expires_at.into()),
        scopes: choices(view.repos),
        max_days: MAX_TOKEN_DAYS,
        max_name_chars: MAX_TOKEN_NAME_CHARS,
    }
    .render()
}

fn row(token: &TokenStatus, now: Timestamp) -> Row<'_> {
    let (tone, words) = match (token.revoked_at, token.expires_at) {
        (Some(_), _) => (Tone::Bad, "revoked"),
        (None, Some(at)) if at <= now => (Tone::Idle, "ended"),
        (None, Some(at)) if at <= now.plus_secs(14 * 86_400) => (Tone::Warn, "ends soon"),
        (None, _) => (Tone::Good, "good"),
    };
    Row {
        token,
        state: Chip {
            tone,
            words: words.to_owned(),
        },
        made: token.created_at.into(),
        ends: token.revoked_at.or(token.expires_at).map(When::from),
        is_good: matches!(tone, Tone::Good | Tone::Warn),
    }
}

fn choices(repos: &[String]) -> Vec<Choice> {
    let choice = |scope: &str, about| Choice {
        id: String::new(),
        scope: scope.to_owned(),
        about,
    };
    let mut all = vec![choice("publish", "upload builds to every repository")];
    let one = repos.iter().map(|repo| format!("publish:{repo}"));
    all.extend(one.map(|scope| choice(&scope, "upload builds to this repository")));
    all.extend([
        choice("operate", "log in here, decide about builds, move channels"),
        choice("read", "read blobs that are not public"),
        choice("tokens", "make and revoke tokens, with any scope"),
    ]);
    for (number, choice) in all.iter_mut().enumerate() {
        choice.id = format!("scope-{number}");
    }
    all
}
