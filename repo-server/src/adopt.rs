//! Taking over the signer's last release after the database was lost or put back from an older copy.
//!
//! The signer signs only what follows the release that it signed last. A database that does not know
//! that release would ask for its number again, with other bytes, and be refused for ever. So it takes
//! over what the signer remembers: number, instant and envelope. The files of the releases in between
//! are lost; the next release is made of what the database knows and follows the signer's last one.

use crate::app::now;
use crate::db::{self, Db, DbError};
use crate::signer_link;
use hallmark_signer::client::ClientError;
use repo_model::config::Config;
use repo_model::wire::signer::LastRelease;

/// Nothing was taken over.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The signer cannot be asked. Retry when it runs.
    #[error("the signer cannot be asked")]
    Signer(#[from] ClientError),
    /// The database cannot be used; nothing was changed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The database has a release that the signer does not know: the signer's state directory is the
    /// one that was put back. Nothing to take over; restore the signer's journal.
    #[error(
        "the database has release {ours}, but the signer's last one is {theirs}: the signer's journal is \
         the one that lacks something"
    )]
    SignerBehind {
        /// The database's newest.
        ours: u64,
        /// The signer's last; 0 for none.
        theirs: u64,
    },
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adopted {
    /// The database already has the signer's last release, or neither has any.
    Nothing,
    /// The signer's last release was taken over.
    Release(LastRelease),
}

/// Asks the signer for its last release and, when the database lacks it, takes it over. A server may run
/// meanwhile; it publishes again with its next try.
pub async fn last_release(config: &Config) -> Result<Adopted, AdoptError> {
    let server = config.server.clone();
    let asked = tokio::task::spawn_blocking(move || signer_link::connect(&server)?.last_release());
    let last = asked.await.map_err(|_| DbError::Closed)??;
    let db = Db::open(&crate::layout::database(&config.server.data_dir))?;
    db.write(move |tx| {
        let newest = db::releases::newest(tx)?;
        let ours = newest.as_ref().map_or(0, |release| release.release.0);
        let theirs = last.map_or(0, |release| release.id.0);
        match (last, newest) {
            (None, None) => Ok(Adopted::Nothing),
            (Some(last), Some(newest)) if newest.envelope == last.envelope => Ok(Adopted::Nothing),
            (Some(last), _) if ours < theirs => {
                db::releases::adopt(tx, last)?;
                let subject = format!("release {theirs}");
                db::audit(tx, now(), "operator", "adopt-release", &subject, "")?;
                db::jobs::enqueue(tx, crate::publish::NAME, "", None, 0)?;
                Ok(Adopted::Release(last))
            }
            _ => Err(AdoptError::SignerBehind { ours, theirs }),
        }
    })
    .await
}
