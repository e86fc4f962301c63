//! The log of an honest server: entries in memory, heads by the signer.

use super::{Party, World};
use hallmark_signer::client::{Client, ClientError};
use repo_model::dsse::{Envelope, StatementPublicKey};
use repo_model::log::testkit::Leaves;
use repo_model::log::{consistency_proof, entry, inclusion_proof, leaf_hash};
use repo_model::policy::logged::{LogPlace, LogProofs};
use repo_model::wire::signer::CheckpointRequest;

/// See the module's page.
#[derive(Debug, Clone, Default)]
pub struct Log {
    pub leaves: Leaves,
    /// Entries under the newest head.
    signed: u64,
    /// The newest head.
    pub head: String,
}

impl Log {
    pub fn size(&self) -> u64 {
        self.leaves.0.len() as u64
    }

    /// Adds what `party` signed; returns its index.
    pub fn add(&mut self, envelope: &Envelope, party: Party) -> u64 {
        self.add_by(envelope, &party.key().public())
    }

    /// The same for any key.
    pub fn add_by(&mut self, envelope: &Envelope, key: &StatementPublicKey) -> u64 {
        let entry = entry(envelope, key).unwrap();
        self.leaves.0.push(leaf_hash(&entry));
        self.size() - 1
    }

    /// Has the signer sign the head over all that was added.
    pub fn sign(&mut self, client: &mut Client) -> String {
        self.try_sign(client).unwrap()
    }

    /// The same, or why it does not.
    pub fn try_sign(&mut self, client: &mut Client) -> Result<String, ClientError> {
        self.sign_by(|request| client.sign_checkpoint(request))
    }

    /// The same, however the signer is asked.
    pub fn sign_by<E>(
        &mut self,
        ask: impl FnOnce(CheckpointRequest) -> Result<String, E>,
    ) -> Result<String, E> {
        let size = self.size();
        let Ok(proof) = consistency_proof(self.signed, size, &mut self.leaves);
        let request = CheckpointRequest {
            size,
            root: self.leaves.root(),
            before: self.signed,
            proof,
        };
        self.head = ask(request)?;
        self.signed = size;
        Ok(self.head.clone())
    }

    /// The place of an entry under the head of so many entries.
    pub fn place(&self, index: u64, size: u64) -> LogPlace {
        let count = usize::try_from(size).unwrap();
        let mut under = Leaves(self.leaves.0[..count].to_vec());
        let Ok(hashes) = inclusion_proof(index, size, &mut under);
        LogPlace { index, hashes }
    }

    /// That these entries are under the newest head.
    pub fn proofs(&self, indexes: &[u64]) -> LogProofs {
        let place = |index: &u64| Some(self.place(*index, self.signed));
        LogProofs {
            head: self.head.clone(),
            places: indexes.iter().map(place).collect(),
        }
    }
}

impl World {
    /// A log in which these are, each by the party beside it, under a head that the signer signed.
    pub fn logged(&self, envelopes: &[(&Envelope, Party)]) -> (Log, LogProofs) {
        let mut log = Log {
            leaves: Leaves::salted(3, "others"),
            ..Log::default()
        };
        let add = |(envelope, party): &(&Envelope, Party)| log.add(envelope, *party);
        let indexes: Vec<u64> = envelopes.iter().map(add).collect();
        log.sign(&mut self.client());
        let proofs = log.proofs(&indexes);
        (log, proofs)
    }
}
