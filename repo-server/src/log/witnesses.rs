//! Witnesses: others who saw the log's head and only ever one history of it. The signed policy names them and
//! says how many must have agreed; a head is served with what it has, and a release waits for the quorum.
//!
//! Nothing is remembered on disk but the cosigned heads themselves: where a witness stands, it says itself.

use super::tiles::{Tiles, TilesError};
use super::{LogError, directory, key, open};
use crate::app::{App, now};
use crate::db::{self, DbError};
use crate::jobs::{self, JobError};
use repo_model::FileDigest;
use repo_model::log::{
    AddCheckpoint, Checkpoint, CheckpointError, Note, NoteSignature, SIZE_MEDIA_TYPE, Witness,
    WitnessPolicy, consistency_proof, read_cosignatures, read_size,
};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use ureq::Agent;

/// Longest that one witness may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A witness that did not answer as it should is left alone for so long, unless a release waits.
const REST: Duration = Duration::from_secs(30);
/// Longest answer that is read, bytes.
const MAX_ANSWER_BYTES: u64 = 64 << 10;

/// Why a witness did not cosign. Asking again later may help, but not against a fork.
#[derive(Debug, thiserror::Error)]
enum Problem {
    /// It cannot be reached, or broke off.
    #[error(transparent)]
    Http(#[from] ureq::Error),
    /// It answers, but with no cosignature of its.
    #[error("it answers {status}: {words}")]
    Refused { status: u16, words: String },
    /// It has cosigned more entries than there are.
    #[error(
        "it has cosigned {seen} entries, the log has {size}: the log was put back from an older copy, or has forked"
    )]
    Ahead { seen: u64, size: u64 },
    /// It has cosigned another log of this name.
    #[error("it has cosigned another history of this log: the log has forked")]
    Forked,
    /// The answer has no signature that its key in the policy made.
    #[error("its answer has no cosignature of its key in the policy")]
    Unsigned,
    /// The log's own files do not give the proof.
    #[error(transparent)]
    Tiles(#[from] TilesError),
}

impl Problem {
    fn is_alarm(&self) -> bool {
        match self {
            Self::Ahead { .. } | Self::Forked => true,
            Self::Http(_) | Self::Refused { .. } | Self::Unsigned | Self::Tiles(_) => false,
        }
    }

    /// Whether a newer head of ours was with the witness before this one: nothing is wrong with it.
    ///
    /// * `signed`: entries of the newest head that the database has.
    fn is_overtaken(&self, signed: u64) -> bool {
        matches!(self, Self::Ahead { seen, .. } if *seen <= signed)
    }
}

/// What is known of each witness, by its name in the policy.
#[derive(Debug, Default)]
pub struct Witnesses {
    standings: Mutex<HashMap<String, Standing>>,
    /// When their word was renewed last, or was tried to be.
    renewed: Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Standing {
    /// Entries of the head that it cosigned last, as far as it told.
    size: u64,
    problem: Option<(Instant, String)>,
}

impl Witnesses {
    /// Nothing that holds the lock can panic.
    fn all(&self) -> MutexGuard<'_, HashMap<String, Standing>> {
        self.standings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is time to ask all of them anew: not every second while some are away.
    fn may_renew(&self) -> bool {
        let mut renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        let due = renewed.is_none_or(|at| at.elapsed() >= REST);
        if due {
            *renewed = Some(Instant::now());
        }
        due
    }

    fn rests(&self, witness: &Witness) -> bool {
        let all = self.all();
        let problem = all.get(&witness.name).and_then(|one| one.problem.as_ref());
        problem.is_some_and(|(since, _)| since.elapsed() < REST)
    }

    fn size(&self, witness: &Witness) -> u64 {
        self.all().get(&witness.name).map_or(0, |one| one.size)
    }

    /// What is wrong with each of them, in one line; empty when nothing is.
    fn problems(&self, policy: &WitnessPolicy) -> String {
        let all = self.all();
        let told = policy.witnesses().iter().filter_map(|witness| {
            let (_, problem) = all.get(&witness.name)?.problem.as_ref()?;
            Some(format!("; {}: {problem}", witness.name))
        });
        told.collect()
    }

    fn note(&self, witness: &Witness, size: u64, answer: &Result<NoteSignature, Problem>) {
        let mut all = self.all();
        let standing = all.entry(witness.name.clone()).or_default();
        match answer {
            Ok(_) => {
                if standing.problem.take().is_some() {
                    tracing::info!("witness {} cosigns again", witness.name);
                }
                standing.size = size;
            }
            Err(problem) => {
                let words = jobs::chain(problem);
                let known = standing.problem.as_ref().map(|(_, before)| before.as_str());
                if problem.is_alarm() {
                    tracing::error!(
                        alarm = "log-forked",
                        "ALARM: witness {} does not cosign the head of the log: {words}",
                        witness.name
                    );
                } else if known != Some(words.as_str()) {
                    tracing::warn!("witness {} does not cosign: {words}", witness.name);
                }
                standing.problem = Some((Instant::now(), words));
            }
        }
    }
}

/// Whom to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Those whose cosignature is missing, but for those that did not answer lately.
    Ready,
    /// Those whose cosignature is missing.
    Missing,
    /// All of them anew: their word is old.
    All,
}

/// The policy, when it demands a witness.
fn demanded(app: &App) -> Option<&WitnessPolicy> {
    let policy = app.policy.witnesses.as_ref();
    policy.filter(|policy| policy.demands_some())
}

/// Asks witnesses for their cosignatures of a head whose tiles are written; returns it with those it has now.
/// Who does not cosign is no error.
pub async fn cosign(app: &App, note: String, ask: Ask) -> Result<String, JobError> {
    let Some(policy) = &app.policy.witnesses else {
        return Ok(note);
    };
    let mut head = Note::parse(note.as_bytes())
        .map_err(|error| LogError::from(CheckpointError::from(error)))?;
    let checkpoint = open(&note, &key(app).await?)?;
    let seen: Vec<String> = policy
        .seen(&head, now())
        .into_iter()
        .map(|one| one.witness.name.clone())
        .collect();
    let wanted = |witness: &&Witness| match ask {
        Ask::All => true,
        Ask::Missing => !seen.contains(&witness.name),
        Ask::Ready => !seen.contains(&witness.name) && !app.witnesses.rests(witness),
    };
    let witnesses: Vec<Witness> = policy
        .witnesses()
        .iter()
        .filter(|witness| witness.url.is_some())
        .filter(wanted)
        .cloned()
        .collect();
    if witnesses.is_empty() {
        return Ok(note);
    }
    let sizes: Vec<u64> = witnesses
        .iter()
        .map(|one| app.witnesses.size(one))
        .collect();
    let directory = directory(&app.config.server.data_dir);
    let (size, sent) = (checkpoint.size, head.clone());
    let asked = tokio::task::spawn_blocking(move || {
        let all = witnesses.into_iter().zip(sizes);
        ask_all(&directory, all, &sent, &checkpoint)
    });
    let asked = asked.await?;
    // Read after they answered: a newer head is locked in before a witness sees it.
    let signed = app.db.read(db::log::progress).await?.signed;
    for (witness, answer) in asked {
        if matches!(&answer, Err(problem) if problem.is_overtaken(signed)) {
            tracing::debug!("witness {} knows a newer head already", witness.name);
            continue;
        }
        app.witnesses.note(&witness, size, &answer);
        if let Ok(line) = answer {
            add_line(&mut head, &witness, line);
        }
    }
    Ok(head.to_string())
}

/// Puts a witness's line in the place of its older one. One that would make the head too long to be read back is
/// left out: the log could not go on from such a head.
fn add_line(head: &mut Note, witness: &Witness, line: NoteSignature) {
    let before = head.signatures.clone();
    head.signatures.retain(|other| !other.is_by(&witness.key));
    head.signatures.push(line);
    if !head.fits() {
        head.signatures = before;
        tracing::warn!(
            "the head of the log has no room for the cosignature of witness {}",
            witness.name
        );
    }
}

type Asked = (Witness, Result<NoteSignature, Problem>);

/// Asks all of them at once.
fn ask_all(
    directory: &Path,
    witnesses: impl Iterator<Item = (Witness, u64)>,
    head: &Note,
    checkpoint: &Checkpoint,
) -> Vec<Asked> {
    let agent = Agent::new_with_config(
        Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(concat!("hallmark/", env!("CARGO_PKG_VERSION")))
            // A head is for the witness alone that the policy names.
            .max_redirects(0)
            .timeout_global(Some(TIMEOUT))
            .build(),
    );
    std::thread::scope(|scope| {
        let asked: Vec<_> = witnesses
            .map(|(witness, from)| {
                let agent = &agent;
                scope.spawn(move || {
                    let answer = ask(directory, agent, &witness, from, head, checkpoint);
                    (witness, answer)
                })
            })
            .collect();
        // A thread that panicked has no answer: the others' count.
        asked
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect()
    })
}

/// Asks one, from where it stands as far as we know, then from where it says.
fn ask(
    directory: &Path,
    agent: &Agent,
    witness: &Witness,
    from: u64,
    head: &Note,
    checkpoint: &Checkpoint,
) -> Result<NoteSignature, Problem> {
    let size = checkpoint.size;
    let mut old = from.min(size);
    // Another of the log's requests can come in between: the same witness under two of its keys.
    for _ in 0..3 {
        let request = AddCheckpoint {
            old,
            proof: consistency_proof(old, size, &mut Tiles::open(directory, size))?,
            checkpoint: head.clone(),
        };
        match send(agent, witness, &request)? {
            Answer::Cosigned(body) => return cosignature(witness, head, &body),
            Answer::Stands(seen) if seen > size => return Err(Problem::Ahead { seen, size }),
            // It refused from there: what it has of this size is not this.
            Answer::Stands(seen) if seen == old => return Err(Problem::Forked),
            Answer::Stands(seen) => old = seen,
            Answer::Inconsistent => return Err(Problem::Forked),
        }
    }
    let words = "it says another size each time".to_owned();
    Err(Problem::Refused { status: 409, words })
}

enum Answer {
    Cosigned(String),
    Stands(u64),
    Inconsistent,
}

fn send(agent: &Agent, witness: &Witness, request: &AddCheckpoint) -> Result<Answer, Problem> {
    let url = witness.url.as_deref().unwrap_or_default();
    let mut answer = agent
        .post(format!("{url}/add-checkpoint"))
        .content_type("text/plain; charset=utf-8")
        .send(request.to_string())?;
    let status = answer.status().as_u16();
    let media_type = answer.headers().get(ureq::http::header::CONTENT_TYPE);
    let is_size = media_type.is_some_and(|value| value == SIZE_MEDIA_TYPE);
    let body = answer.body_mut().with_config().limit(MAX_ANSWER_BYTES);
    let body = body.read_to_string()?;
    match (status, is_size.then(|| read_size(&body)).flatten()) {
        (200, _) => Ok(Answer::Cosigned(body)),
        (409, Some(size)) => Ok(Answer::Stands(size)),
        (422, _) => Ok(Answer::Inconsistent),
        (status, _) => Err(Problem::Refused {
            status,
            words: printable(&body),
        }),
    }
}

/// The first line of a stranger's answer, fit for a log and a page.
fn printable(body: &str) -> String {
    let line = body.lines().next().unwrap_or_default();
    let clean = line.chars().filter(|c| !c.is_control());
    clean.take(200).collect()
}

/// The one line of the answer that is the witness's own and verifies.
fn cosignature(witness: &Witness, head: &Note, body: &str) -> Result<NoteSignature, Problem> {
    let lines = read_cosignatures(body).map_err(|_| Problem::Unsigned)?;
    let good = |line: &NoteSignature| {
        let alone = Note {
            text: head.text.clone(),
            signatures: vec![line.clone()],
        };
        matches!(alone.verified_by(&witness.key), Ok(Some(_)))
    };
    lines.into_iter().find(good).ok_or(Problem::Unsigned)
}

/// Puts a head with its cosignatures in the place of the same head with fewer; one that a quorum has seen is
/// what proofs lead to from now on. The caller holds the sequencer.
pub async fn keep(app: &App, size: u64, note: String) -> Result<(), JobError> {
    let witnessed = match (demanded(app), Note::parse(note.as_bytes())) {
        (None, _) => true,
        (Some(policy), Ok(head)) => policy.quorum(&head, now()).is_ok(),
        (Some(_), Err(_)) => false,
    };
    app.db
        .write(move |tx| {
            db::log::replace_checkpoint(tx, size, &note)?;
            match witnessed {
                true => db::log::set_witnessed(tx, size, &note),
                false => Ok(()),
            }
        })
        .await?;
    Ok(())
}

/// Has what the served head lacks of its quorum made good, and the witnesses' word renewed when it is old.
pub async fn keep_fresh(app: &App) -> Result<(), JobError> {
    let Some(policy) = demanded(app) else {
        return Ok(());
    };
    let Some(note) = app.db.read(db::log::published_checkpoint).await? else {
        return Ok(());
    };
    let Ok(head) = Note::parse(note.as_bytes()) else {
        return Ok(());
    };
    let renew = i64::from(app.config.server.witness_renewal_secs);
    let ask = match policy.fresh_at(&head, now()) {
        None => Ask::Ready,
        Some(at) if at.plus_secs(renew) < now() && app.witnesses.may_renew() => Ask::All,
        Some(_) => return Ok(()),
    };
    recosign(app, note, ask).await
}

/// Asks, without holding up the log, and serves the head with what came, if it is still the newest.
async fn recosign(app: &App, note: String, ask: Ask) -> Result<(), JobError> {
    let cosigned = cosign(app, note.clone(), ask).await?;
    if cosigned == note {
        return Ok(());
    }
    let _one_at_a_time = app.sequencer.lock().await;
    if app.db.read(db::log::published_checkpoint).await?.as_deref() != Some(&note) {
        return Ok(());
    }
    let size = open(&cosigned, &key(app).await?)?.size;
    keep(app, size, cosigned.clone()).await?;
    super::serve_checkpoint(app, cosigned).await
}

/// The head that a quorum has seen and that covers a place: what the proof of that place leads to. Without
/// one, the newest head.
pub async fn head_for(app: &App, index: u64) -> Result<Option<String>, DbError> {
    let is_demanded = demanded(app).is_some();
    app.db
        .read(move |connection| {
            let witnessed = match is_demanded {
                true => db::log::witnessed(connection)?,
                false => None,
            };
            match witnessed.filter(|(size, _)| *size > index) {
                Some((_, note)) => Ok(Some(note)),
                None => db::log::published_checkpoint(connection),
            }
        })
        .await
}

/// A quorum of witnesses has seen a head of the log that covers this statement; else whoever is missing is
/// asked once more, and the error says who it was.
pub async fn demand_quorum(app: &App, statement: FileDigest) -> Result<(), JobError> {
    let Some(policy) = demanded(app) else {
        return Ok(());
    };
    let place = app
        .db
        .read(move |connection| db::log::index_of(connection, statement));
    let index = place
        .await?
        .ok_or_else(|| JobError::Broken(format!("statement {statement} is not in the log")))?;
    for ask in [None, Some(Ask::Missing)] {
        let head = app.db.read(db::log::published_checkpoint).await?;
        if let (Some(ask), Some(head)) = (ask, head) {
            recosign(app, head, ask).await?;
        }
        let witnessed = app.db.read(db::log::witnessed).await?;
        let enough = witnessed.is_some_and(|(size, note)| {
            let head = Note::parse(note.as_bytes());
            size > index && head.is_ok_and(|head| policy.quorum(&head, now()).is_ok())
        });
        if enough {
            return Ok(());
        }
    }
    let head = app.db.read(db::log::published_checkpoint).await?;
    let head = head.and_then(|note| Note::parse(note.as_bytes()).ok());
    let shortfall = head.and_then(|head| policy.quorum(&head, now()).err());
    let problems = app.witnesses.problems(policy);
    Err(LogError::NoQuorum {
        why: shortfall.map_or_else(
            || format!("no head that covers it was cosigned yet{problems}"),
            |shortfall| format!("{shortfall}{problems}"),
        ),
    }
    .into())
}

/// How it stands with the quorum, in a word or a clause; none when none is asked for.
pub async fn state(app: &App) -> Result<Option<String>, DbError> {
    let Some(policy) = demanded(app) else {
        return Ok(None);
    };
    let head = app.db.read(db::log::published_checkpoint).await?;
    let head = head.and_then(|note| Note::parse(note.as_bytes()).ok());
    Ok(Some(match head.map(|head| policy.quorum(&head, now())) {
        None => "no head yet".to_owned(),
        Some(Ok(_)) => "ok".to_owned(),
        Some(Err(shortfall)) => format!("{shortfall}{}", app.witnesses.problems(policy)),
    }))
}

#[cfg(test)]
#[path = "witnesses_tests.rs"]
mod tests;
