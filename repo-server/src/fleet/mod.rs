//! The registered mirrors: looked at in the background, and kept in memory so that a client is told where to
//! go without a question to the database. What is served is one immutable [`Snapshot`]; a newer one takes its
//! place in one step.

mod fresh;
mod geo;
mod lag;
mod look;
mod said;
mod snapshot;
mod status;

pub use geo::Geo;
pub use said::Said;
pub use snapshot::{Snapshot, Wish};
pub use status::{report, statuses};

use crate::app::{App, now};
use crate::db::mirrors as rows;
use crate::db::{DbError, mirrors::MirrorRow};
use crate::jobs::chain;
use mirrors::metalink::Repomd;
use repo_model::FileDigest;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often the clock is looked at for what is due.
const TICK: Duration = Duration::from_secs(5);
/// Ticks after which the snapshot is made again although nobody said that it changed.
const TICKS_A_SNAPSHOT: u32 = 6;
/// Ticks after which old looks are forgotten.
const TICKS_A_SWEEP: u32 = 720;

/// What is known of mirrors, in memory.
#[derive(Debug, Default)]
pub struct Fleet {
    snapshot: RwLock<Arc<Snapshot>>,
    geo: RwLock<Arc<Geo>>,
    /// Size and digests of each `repomd.xml` that metalinks name.
    repomds: Mutex<HashMap<FileDigest, Repomd>>,
    /// What the signer said of mirrors last.
    said: RwLock<Option<Arc<Said>>>,
    /// One snapshot is made at a time, so that an older one never takes the place of a newer.
    making: tokio::sync::Mutex<()>,
    /// Rung when a mirror may be due.
    pub due: Notify,
}

impl Fleet {
    /// What clients are told now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the signer said of mirrors, while it holds.
    pub fn said(&self) -> Option<Arc<Said>> {
        let said = self.said.read().unwrap_or_else(PoisonError::into_inner);
        said.clone().filter(|said| now() < said.expires)
    }

    /// Tells clients this from now on. Who has the one before in hand goes on with it to the end of his answer.
    fn show(&self, next: Snapshot) {
        let next = Arc::new(next);
        let mut place = self
            .snapshot
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *place, next);
        // Nobody waits while the old one is taken apart.
        drop(place);
        drop(before);
    }

    fn set_said(&self, said: Option<Said>) {
        let mut place = self.said.write().unwrap_or_else(PoisonError::into_inner);
        *place = said.map(Arc::new);
    }

    /// Where addresses are.
    pub fn geo(&self) -> Arc<Geo> {
        Arc::clone(&self.geo.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A channel or a mirror changed: clients are told anew before this returns, and the rest is seen to soon.
pub async fn changed(app: &App) {
    refresh(app).await;
    app.fleet.due.notify_one();
}

/// Makes the snapshot anew. Called whenever a channel or a mirror changed; what fails leaves the old one.
pub async fn refresh(app: &App) {
    let _one = app.fleet.making.lock().await;
    match snapshot::make(app).await {
        Ok(next) => app.fleet.show(next),
        Err(error) => {
            let error = chain(&error);
            tracing::error!(error, "metalinks stay as they are: {error}");
        }
    }
}

/// Looks at mirrors, and keeps the snapshot, until `stop`.
pub async fn run(app: App, stop: CancellationToken) {
    let looks = TaskTracker::new();
    let mut ticks = 0_u32;
    let mut refused_at = fresh::Refused::new();
    let mut say_at = now();
    while !stop.is_cancelled() {
        if ticks.is_multiple_of(TICKS_A_SNAPSHOT) {
            reload_geo(&app).await;
            refresh(&app).await;
        }
        if ticks.is_multiple_of(TICKS_A_SWEEP) {
            forget(&app).await;
        }
        ticks = ticks.wrapping_add(1);
        refused_at = fresh::renew(&app, refused_at).await;
        say_at = said::renew(&app, say_at).await;
        match begin(&app, looks.len()).await {
            Ok(due) => {
                for mirror in due {
                    looks.spawn(one(app.clone(), mirror, stop.clone()));
                }
            }
            Err(error) => {
                let error = chain(&error);
                tracing::error!(error, "cannot tell which mirrors are due: {error}");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            () = app.fleet.due.notified() => {}
            () = stop.cancelled() => {}
        }
    }
    looks.close();
    // A look writes once, at its end: one that is cut off is begun again at the next start.
}

/// The mirrors to look at now; their next time is set before they are looked at.
async fn begin(app: &App, busy: usize) -> Result<Vec<MirrorRow>, DbError> {
    let places = app.config.mirrors.probes_at_once.saturating_sub(busy);
    let pause = i64::try_from(app.config.mirrors.probe_secs).unwrap_or(i64::MAX);
    if places == 0 {
        return Ok(Vec::new());
    }
    let waiting = app
        .db
        .read(move |connection| rows::due(connection, now(), places))
        .await?;
    if waiting.is_empty() {
        return Ok(waiting);
    }
    app.db
        .write(move |tx| {
            let due = rows::due(tx, now(), places)?;
            for mirror in &due {
                rows::set_next(
                    tx,
                    &mirror.registration.name,
                    now().plus_secs(pause.max(60)),
                )?;
            }
            Ok(due)
        })
        .await
}

async fn one(app: App, mirror: MirrorRow, stop: CancellationToken) {
    let name = mirror.registration.name.clone();
    let before = mirror.state.health;
    let finding = tokio::select! {
        finding = look::at(&app, mirror) => finding,
        () = stop.cancelled() => return,
    };
    let recorded = match finding {
        Ok(finding) => {
            let (health, trouble) = (finding.state.health, finding.probe.trouble.clone());
            if health != before {
                let why = trouble.map_or_else(|| "it does well".to_owned(), |why| why.to_string());
                let health = health.name();
                tracing::info!(mirror.name = %name, mirror.health = health, "mirror {name} is {health}: {why}");
            }
            app.db.write(move |tx| rows::record(tx, &finding)).await
        }
        Err(error) => Err(error),
    };
    match recorded {
        Ok(_) => refresh(&app).await,
        Err(error) => {
            let error = chain(&error);
            tracing::error!(error, mirror.name = %name, "the look at mirror {name} is lost: {error}");
        }
    }
    app.fleet.due.notify_one();
}

async fn reload_geo(app: &App) {
    let (config, before) = (app.config.mirrors.clone(), app.fleet.geo());
    let read = tokio::task::spawn_blocking(move || before.newer(&config)).await;
    if let Ok(Some(next)) = read {
        let mut place = app
            .fleet
            .geo
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *place = Arc::new(next);
    }
}

async fn forget(app: &App) {
    let days = i64::from(app.config.mirrors.history_days);
    let before = now().plus_secs(-days * 86_400);
    if let Err(error) = app.db.write(move |tx| rows::forget(tx, before)).await {
        let error = chain(&error);
        tracing::warn!(error, "old looks at mirrors stay: {error}");
    }
}
