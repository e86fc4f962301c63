//! The signer's own signatures, handed to the log: it says which packages it has signed, is shown that the statement is in
//! the log, and signs no more packages when that is not done in time. Releases of what is signed, moves and freshness go
//! on.
//!
//! What it sees is a head that it signed itself, and that the statement is below it: a server that was taken over must
//! commit to each signature in the log within the policy's minutes. That the log's entries are served, and served to
//! all alike, is for witnesses and monitors to see.

use super::{Desk, DeskError, bad_request, logged};
use crate::journal::Event;
use crate::rules::Rules;
use repo_model::announcement::{SIGNATURES, Signatures};
use repo_model::dsse::StatementPublicKey;
use repo_model::policy::logged::is_under;
use repo_model::policy::{Policy, Reason};
use repo_model::statement::{Statement, Subject};
use repo_model::wire::signer::{KeyRole, Response, ShownSignatures};
use repo_model::{FileDigest, Timestamp};

/// Why no more packages are signed, if they are not. The log says so aloud.
pub(super) fn overdue(
    desk: &Desk,
    policy: &Policy,
    now: Timestamp,
) -> Result<Option<Reason>, DeskError> {
    let overdue = desk.ledger()?.index.unlogged().overdue(policy, now);
    if let Some(reason) = &overdue {
        tracing::error!(alarm = "signatures-unlogged", "ALARM: {reason}");
    }
    Ok(overdue)
}

/// Signs the records of what waits; nothing is said of nothing, nor when the policy has no log.
pub(super) fn say(
    desk: &Desk,
    rules: &Rules,
    request: FileDigest,
    now: Timestamp,
) -> Result<Response, DeskError> {
    let (journal, packages) = {
        let ledger = desk.ledger()?;
        (ledger.journal.last(), ledger.index.unlogged().next())
    };
    let last = packages.last().filter(|_| rules.policy.require_log);
    let Some(through) = last.map(|last| last.record) else {
        return Ok(Response::SignaturesSaid { envelope: None });
    };
    let count = packages.len() as u64;
    let said = Signatures {
        said_at: now,
        verifier: desk.config.verifier_id.clone(),
        journal,
        packages,
    };
    let subject = vec![Subject::file("journal", journal)];
    let statement = Statement::new(SIGNATURES, subject, said);
    let envelope = statement.sign(&*desk.keys.statement)?;
    let event = Event::SignaturesSaid {
        request,
        through,
        packages: count,
        envelope: FileDigest::of(&envelope.to_json()),
    };
    desk.record(now, event)?;
    let envelope = Some(envelope);
    Ok(Response::SignaturesSaid { envelope })
}

/// Looks the statement up in the log, under a head that was signed here.
pub(super) fn show(
    desk: &Desk,
    rules: &Rules,
    request: FileDigest,
    shown: &ShownSignatures,
    now: Timestamp,
) -> Result<Response, DeskError> {
    let ShownSignatures {
        envelope,
        head,
        place,
    } = shown;
    let statement = FileDigest::of(&envelope.to_json());
    if desk.ledger()?.index.unlogged().through(statement).is_none() {
        return Ok(bad_request(format!(
            "{statement} is no statement of signatures that was made here and waits"
        )));
    }
    let refused = |reason| {
        Ok(Response::Refused {
            held: true,
            reasons: vec![reason],
        })
    };
    let policy = (&rules.policy, rules.digest);
    let head = match logged::head(desk, policy, head, now)? {
        Ok(head) => head,
        Err(reason) => return refused(reason),
    };
    let is_logged = statement_keys(desk)
        .iter()
        .any(|key| is_under(envelope, key, place, &head));
    if !is_logged {
        let why = "the log has something else in its place".to_owned();
        return refused(Reason::NotInLog { statement, why });
    }
    let event = Event::SignaturesShown {
        request,
        envelope: statement,
        log_size: head.size,
    };
    desk.record(now, event)?;
    let left = desk.ledger()?.index.unlogged().len();
    Ok(Response::SignaturesShown { left })
}

/// All that ever signed statements here: one may have been retired in between.
fn statement_keys(desk: &Desk) -> Vec<StatementPublicKey> {
    let published = desk.keys.published.iter();
    let statement = published.filter(|key| key.role == KeyRole::Statement);
    let mut keys: Vec<_> = statement
        .filter_map(|key| key.public.parse().ok())
        .collect();
    keys.push(desk.keys.statement.public());
    keys
}
