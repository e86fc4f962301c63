//! Raw evidence about a package, gathered from the store: what the policy judges and the signer gets.

use super::JobError;
use crate::app::App;
use crate::db::builds::PackageRow;
use crate::db::evidence::{ByPackage, EvidenceRow, Kind};
use crate::store::StoreError;
use repo_model::FileDigest;
use repo_model::dsse::Envelope;
use repo_model::policy::Evidence;
use repo_model::rpm::{Head, HeadLimits};

/// Largest statement, bytes.
const MAX_ENVELOPE_BYTES: u64 = 16 << 20;

/// Kinds of statements that the policy looks at.
const JUDGED: [Kind; 5] = [
    Kind::Rebuild,
    Kind::Commitment,
    Kind::Reveal,
    Kind::Provenance,
    Kind::Waiver,
];

/// All there is about one package.
pub struct Dossier {
    /// Lead and headers of the unsigned file.
    pub head: Head,
    /// Provenance, rebuild statements, their commitments and reveals, and waivers.
    pub envelopes: Vec<Envelope>,
    /// What each of them is stored and logged under.
    pub statements: Vec<FileDigest>,
    /// SBOM documents.
    pub sboms: Vec<Vec<u8>>,
}

impl Dossier {
    /// Gathers it. `evidence`: that of the build.
    pub async fn gather(
        app: &App,
        package: &PackageRow,
        evidence: &ByPackage,
    ) -> Result<Self, JobError> {
        let mut dossier = Self {
            head: read_head(app, package.unsigned_file).await?,
            envelopes: Vec::new(),
            statements: Vec::new(),
            sboms: Vec::new(),
        };
        for row in evidence
            .of_all()
            .iter()
            .chain(evidence.of(package.package_id))
        {
            if is_judged(row) {
                let json = app.store.get(row.digest, MAX_ENVELOPE_BYTES).await?;
                // What is no envelope proves nothing, and the policy says what is missing then.
                if let Ok(envelope) = Envelope::from_json(&json) {
                    dossier.envelopes.push(envelope);
                    dossier.statements.push(row.digest);
                }
            } else if row.kind == Kind::Sbom.name() {
                let limit = repo_model::sbom_facts::MAX_BYTES as u64;
                match app.store.get(row.digest, limit).await {
                    Ok(document) => dossier.sboms.push(document.to_vec()),
                    // Nobody could read it: the policy says that it is missing, and the build is held.
                    Err(StoreError::TooLarge { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(dossier)
    }

    /// As the policy wants it.
    pub fn as_evidence(&self) -> Evidence<'_> {
        Evidence {
            head: &self.head,
            envelopes: &self.envelopes,
            sboms: &self.sboms,
        }
    }
}

/// Whether the policy looks at this document.
pub fn is_judged(row: &EvidenceRow) -> bool {
    JUDGED.iter().any(|kind| row.kind == kind.name())
}

/// The head of a stored RPM.
pub async fn read_head(app: &App, file: FileDigest) -> Result<Head, JobError> {
    let reader = app.store.blocking_reader(file).await?;
    let head =
        tokio::task::spawn_blocking(move || Head::read(reader, &HeadLimits::default())).await??;
    Ok(head)
}
