//! Taking a certificate back: a statement by the key itself that stands in its certificate from then on.

use super::openpgp::{OpenPgpError, armored_certificate, library, system_time};
use repo_model::Timestamp;
use sequoia_openpgp as openpgp;

use openpgp::Packet;
use openpgp::cert::{Cert, CertRevocationBuilder};
use openpgp::crypto::Signer;
use openpgp::types::{HashAlgorithm, ReasonForRevocation};

/// Why and when a key is taken back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Revocation<'a> {
    /// Everything that it ever signed is in doubt; otherwise another key took its place.
    pub(super) compromised: bool,
    /// In words, for people.
    pub(super) reason: &'a str,
    /// From when on.
    pub(super) now: Timestamp,
}

impl Revocation<'_> {
    /// The certificate with the statement, in armour.
    ///
    /// * `signer`: the secret half of the certificate's primary key.
    pub(super) fn of(
        self,
        certificate: &Cert,
        signer: &mut dyn Signer,
        hash: HashAlgorithm,
    ) -> Result<String, OpenPgpError> {
        let code = match self.compromised {
            true => ReasonForRevocation::KeyCompromised,
            false => ReasonForRevocation::KeySuperseded,
        };
        let task = "revoke a key";
        let revocation = CertRevocationBuilder::new()
            .set_reason_for_revocation(code, self.reason.as_bytes())
            .and_then(|made| made.set_signature_creation_time(system_time(self.now)))
            .and_then(|made| made.build(signer, certificate, hash))
            .map_err(library(task))?;
        let public = certificate.clone().strip_secret_key_material();
        let (revoked, _) = public
            .insert_packets([Packet::from(revocation)])
            .map_err(library(task))?;
        armored_certificate(&revoked)
    }
}
