//! `hallmark serve`: opens, listens, works until it is told to stop.

use crate::app::{App, ServeError};
use crate::{http, jobs, publish};
use repo_model::config::Config;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Longest that the database may take to become one file at the end.
const SETTLE: Duration = Duration::from_secs(5);

/// Serves until `stop` is cancelled; then requests and jobs that run are given the configured time.
pub async fn serve(config: Config, stop: CancellationToken) -> Result<(), ServeError> {
    let address = config.server.listen.clone();
    let app = App::open(config, stop.clone()).await?;
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|source| ServeError::Listen {
            address: address.clone(),
            source,
        })?;
    publish::ensure_release(&app).await?;
    publish::release_sboms::ensure(&app).await?;
    jobs::older_builds::ensure(&app).await?;
    let local = listener.local_addr().map_err(ServeError::Serve)?;
    tracing::info!(%local, "serving {} on http://{local}", app.config.server.public_url);
    let jobs = tokio::spawn(jobs::run(app.clone(), stop.clone()));
    let sweep = tokio::spawn(jobs::sweep(app.clone(), stop.clone()));
    crate::fleet::refresh(&app).await;
    let fleet = tokio::spawn(crate::fleet::run(app.clone(), stop.clone()));
    let limit = Duration::from_secs(app.config.server.shutdown_secs);
    let db = app.db.clone();
    let log = tokio::spawn(crate::log::run(app.clone(), stop.clone()));
    let limits = http::listen::Limits::of(app.config.server.max_connections);
    let serving = tokio::spawn(http::listen::serve(
        listener,
        http::router(app),
        limits,
        stop.clone(),
    ));
    stop.cancelled().await;
    tracing::info!(
        "stopping: requests and jobs that run have {} s",
        limit.as_secs()
    );
    let all = async {
        let served = serving.await.map_err(std::io::Error::other);
        let _ = jobs.await;
        let _ = sweep.await;
        let _ = log.await;
        let _ = fleet.await;
        served
    };
    let ended = tokio::time::timeout(limit, all).await;
    let _ = tokio::time::timeout(SETTLE, db.settle()).await;
    match ended {
        Ok(served) => served.map_err(ServeError::Serve),
        Err(_) => {
            tracing::warn!(
                "some requests or jobs did not end in time; jobs run again at the next start"
            );
            Ok(())
        }
    }
}
