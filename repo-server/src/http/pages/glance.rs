//! What the first page says of mirrors and rebuilders: the same rows as their own pages, asked for once in a short time,
//! because everybody who comes sees the first page.

use super::rebuilders;
use crate::app::{App, now};
use crate::db::DbError;
use crate::fleet;
use repo_model::wire::mirrors::MirrorStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};
use web::{PairLine, RebuilderLine};

/// How long an answer serves.
const LIFE: Duration = Duration::from_secs(5);

/// Mirrors and rebuilders as they were a moment ago.
pub struct Glance {
    /// Those that everybody may hear of.
    pub mirrors: Vec<MirrorStatus>,
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
    let mut mirrors = app
        .db
        .read(move |connection| fleet::statuses(connection, at))
        .await?;
    mirrors.retain(MirrorStatus::is_open);
    let (rebuilders, pairs) = rebuilders::lines(app).await?;
    let glance = Arc::new(Glance {
        mirrors,
        rebuilders,
        pairs,
    });
    *last = Some((Instant::now(), Arc::clone(&glance)));
    Ok(glance)
}
