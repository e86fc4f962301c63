//! Builds that a signal stops, and that clean up behind themselves.

use crate::failure::Failure;
use hallmark_rebuilder::sandbox::Cancel;
use tokio::signal::unix::{SignalKind, signal};

/// Does blocking `work` on a thread of its own; SIGTERM and SIGINT set `cancel`, and its end is waited for.
pub fn run<T, E>(
    cancel: &Cancel,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
    failure: impl FnOnce(E) -> Failure,
) -> Result<T, Failure>
where
    T: Send + 'static,
    E: Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(async {
        let unheard = |error| Failure::failed(format!("cannot listen for signals: {error}"));
        let mut terminate = signal(SignalKind::terminate()).map_err(unheard)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(unheard)?;
        let mut job = tokio::task::spawn_blocking(work);
        let ended = tokio::select! {
            ended = &mut job => ended,
            _ = terminate.recv() => { cancel.cancel(); job.await }
            _ = interrupt.recv() => { cancel.cancel(); job.await }
        };
        ended
            .map_err(|error| Failure::failed(format!("the build's thread stopped: {error}")))?
            .map_err(failure)
    })
}
