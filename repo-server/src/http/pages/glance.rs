//! What pages say of mirrors and rebuilders, asked for once in a short time: everybody who comes sees the first page,
//! and each answer counts over thousands of builds and looks.

use super::rebuilders;
use crate::app::{App, now};
use crate::db::{self, DbError};
use crate::fleet;
use repo_model::wire::mirrors::{Arrival, MirrorStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};
use web::{PairLine, RebuilderLine};

/// Arrivals that are read for the plot.
const ARRIVALS: u32 = 5_000;

/// How long an answer serves.
const LIFE: Duration = Duration::from_secs(5);

/// Mirrors and rebuilders as they were a moment ago.
pub struct Glance {
    /// Those that everybody may hear of.
    pub mirrors: Vec<MirrorStatus>,
    /// When releases came to mirrors, for the plot.
    pub arrivals: Vec<Arrival>,
    /// By name.
    pub rebuilders: Vec<RebuilderLine>,
    /// Every two who answered about the same builds.
    pub pairs: Vec<PairLine>,
}

/// A glance, and when it was taken.
pub type Glanced = (Instant, Arc<Glance>);

/// The last glance, or a new one. Many who come at once wait for one.
pub async fn glance(app: &App) -> Result<Arc<Glance>, DbError> {
    let mut last = app.glanced.lock().await;
    if let Some((at, glance)) = last.as_ref()
        && at.elapsed() < LIFE
    {
        return Ok(Arc::clone(glance));
    }
    let at = now();
    let (mut mirrors, arrivals) = app
        .db
        .read(move |connection| {
            Ok::<_, DbError>((
                fleet::statuses(connection, at)?,
                db::mirrors::arrivals(connection, ARRIVALS)?,
            ))
        })
        .await?;
    mirrors.retain(MirrorStatus::is_open);
    let (rebuilders, pairs) = rebuilders::lines(app).await?;
    let glance = Arc::new(Glance {
        mirrors,
        arrivals,
        rebuilders,
        pairs,
    });
    *last = Some((Instant::now(), Arc::clone(&glance)));
    Ok(glance)
}
