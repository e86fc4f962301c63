//! Takes the signer's own signatures into the log: it says which packages it has signed, and signs no more when it is not
//! shown in time that its statement is there (`log_within_minutes` of the policy).

use super::shown::show;
use crate::app::App;
use crate::jobs::JobError;
use crate::signer_link;
use hallmark_signer::client::{Client, ClientError};
use repo_model::FileDigest;
use repo_model::announcement::MAX_SIGNATURES;
use repo_model::dsse::Envelope;
use repo_model::wire::signer::ShownSignatures;
use tokio_util::sync::CancellationToken;

/// A statement that is on its way. Nothing is lost with it: the signer says the same again.
#[derive(Debug, Default)]
pub(super) struct HandOver {
    /// Said, and not shown yet: said anew each minute while witnesses are away, it would fill the log.
    on_its_way: Option<Envelope>,
}

impl HandOver {
    /// Shows the signer what it says. What it signs meanwhile, as statements are logged and shown, waits for the next
    /// time: where packages are signed without a pause this would never end.
    pub(super) async fn go_on(
        &mut self,
        app: &App,
        stop: &CancellationToken,
    ) -> Result<(), JobError> {
        while !stop.is_cancelled() {
            if self.on_its_way.is_none() {
                self.on_its_way = said(app).await?;
            }
            let Some(envelope) = self.on_its_way.clone() else {
                return Ok(());
            };
            let left = match shown(app, envelope).await {
                // A signer that was put back from an older copy: it says it anew.
                Err(JobError::Signer(ClientError::BadRequest { message })) => {
                    tracing::info!(
                        "the signer does not know its statement of signatures: {message}"
                    );
                    self.on_its_way = None;
                    return Ok(());
                }
                other => other?,
            };
            self.on_its_way = None;
            if !is_worth_a_statement(left) {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// More waits than one statement takes, so the last one was full.
fn is_worth_a_statement(left: u64) -> bool {
    left >= MAX_SIGNATURES as u64
}

/// What the signer says; `None`: nothing waits, or it is older than this server.
async fn said(app: &App) -> Result<Option<Envelope>, JobError> {
    match ask(app, Client::say_signatures).await {
        Err(JobError::Signer(ClientError::BadRequest { message })) => {
            tracing::debug!("the signer does not say what it signed: {message}");
            Ok(None)
        }
        said => said,
    }
}

/// Has the statement logged and shows it; gives how many signatures wait still.
async fn shown(app: &App, envelope: Envelope) -> Result<u64, JobError> {
    let statement: FileDigest = app.store.put(envelope.to_json()).await?;
    let unknown = || {
        JobError::Broken(format!(
            "the signer's statement {statement} is by a key that it does not show"
        ))
    };
    let places = show(app, vec![statement]).await?.ok_or_else(unknown)?;
    let proofs = places.proofs(&[statement]);
    let place = proofs.places.into_iter().next().flatten();
    let shown = ShownSignatures {
        envelope,
        head: proofs.head,
        place: place.ok_or_else(unknown)?,
    };
    ask(app, |signer| signer.show_signatures(shown)).await
}

async fn ask<T: Send + 'static>(
    app: &App,
    question: impl FnOnce(&mut Client) -> Result<T, ClientError> + Send + 'static,
) -> Result<T, JobError> {
    let server = app.config.server.clone();
    let asked = tokio::task::spawn_blocking(move || {
        let mut client = signer_link::connect(&server)?;
        question(&mut client)
    });
    asked.await?.map_err(JobError::Signer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_signed_while_a_statement_was_shown_waits_for_the_next_time() {
        let full = MAX_SIGNATURES as u64;
        for (left, goes_on) in [(0, false), (1, false), (full - 1, false), (full, true)] {
            assert_eq!(is_worth_a_statement(left), goes_on, "{left}");
        }
    }
}
