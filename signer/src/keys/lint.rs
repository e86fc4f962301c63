//! What is wrong with a certificate for the clients that we know: each rule was found with a client that
//! refused.

use super::openpgp::system_time;
use super::pqc;
use repo_model::Timestamp;
use sequoia_openpgp as openpgp;

use openpgp::cert::Cert;
use openpgp::packet::Signature;
use openpgp::packet::signature::subpacket::SubpacketTag;
use openpgp::policy::StandardPolicy;
use openpgp::types::{HashAlgorithm, PublicKeyAlgorithm};

/// One rule.
struct Rule {
    /// OpenPGP versions of the keys that it is about: who reads version 6 is no rpm 4.
    versions: &'static [u8],
    /// Says what is wrong, and who minds; `None` when nothing is.
    check: fn(&Cert, Timestamp) -> Option<String>,
}

static RULES: &[Rule] = &[
    Rule {
        versions: &[4],
        check: critical,
    },
    Rule {
        versions: &[4],
        check: algorithm,
    },
    Rule {
        versions: &[6],
        check: post_quantum,
    },
    Rule {
        versions: &[4, 6],
        check: weak_hash,
    },
    Rule {
        versions: &[4, 6],
        check: user_ids,
    },
    Rule {
        versions: &[4, 6],
        check: valid,
    },
];

/// Everything that is wrong with a certificate, in words.
pub fn findings(certificate: &Cert, now: Timestamp) -> Vec<String> {
    let version = certificate.primary_key().key().version();
    let about = |rule: &&Rule| rule.versions.contains(&version);
    if !RULES.iter().any(|rule| about(&rule)) {
        return vec![format!(
            "an OpenPGP version {version} key: want 4, or 6 for post-quantum ones"
        )];
    }
    RULES
        .iter()
        .filter(about)
        .filter_map(|rule| (rule.check)(certificate, now))
        .collect()
}

fn self_signatures(certificate: &Cert) -> Vec<Signature> {
    let of_users = certificate
        .userids()
        .flat_map(|user| user.self_signatures().cloned().collect::<Vec<_>>());
    let of_keys = certificate
        .keys()
        .flat_map(|key| key.self_signatures().cloned().collect::<Vec<_>>());
    of_users.chain(of_keys).collect()
}

/// rpm 4.18's own parser knows no critical subpacket but these.
fn critical(certificate: &Cert, _: Timestamp) -> Option<String> {
    let harmless = [SubpacketTag::SignatureCreationTime, SubpacketTag::KeyFlags];
    for signature in self_signatures(certificate) {
        for subpacket in signature.hashed_area().iter() {
            if subpacket.critical() && !harmless.contains(&subpacket.tag()) {
                let tag = subpacket.tag();
                return Some(format!(
                    "the subpacket {tag} is critical: rpm 4.18 does not import such a key"
                ));
            }
        }
    }
    None
}

/// Clients of EL 9 and later refuse self-signatures with SHA-1.
fn weak_hash(certificate: &Cert, _: Timestamp) -> Option<String> {
    let weak = [
        HashAlgorithm::MD5,
        HashAlgorithm::SHA1,
        HashAlgorithm::RipeMD,
    ];
    let signatures = self_signatures(certificate);
    let found = signatures
        .iter()
        .find(|signature| weak.contains(&signature.hash_algo()))?;
    let hash = found.hash_algo();
    Some(format!(
        "a self-signature uses {hash}: clients of EL 9 and later refuse it"
    ))
}

fn algorithm(certificate: &Cert, _: Timestamp) -> Option<String> {
    let key = certificate.primary_key().key();
    let bits = key.mpis().bits().unwrap_or(0);
    match key.pk_algo() {
        PublicKeyAlgorithm::RSAEncryptSign if bits < 3_072 => Some(format!(
            "RSA of {bits} bits is too short: want 3072 or more"
        )),
        PublicKeyAlgorithm::ECDSA => {
            Some("rpm 4.18 calls the signatures of ECDSA keys BAD".to_owned())
        }
        PublicKeyAlgorithm::RSAEncryptSign | PublicKeyAlgorithm::EdDSA => None,
        other => Some(format!("{other} keys are not read by every client")),
    }
}

/// Whoever takes version 6 at all has the other algorithms in version 4 already.
fn post_quantum(certificate: &Cert, _: Timestamp) -> Option<String> {
    match certificate.primary_key().key().pk_algo() {
        pqc::ALGORITHM => None,
        other => Some(format!(
            "{other} in a version 6 key: want {}",
            pqc::ALGORITHM
        )),
    }
}

fn user_ids(certificate: &Cert, _: Timestamp) -> Option<String> {
    match certificate.userids().count() {
        1 => None,
        count => Some(format!(
            "{count} user ids: rpm shows one, and needs it to name the key"
        )),
    }
}

fn valid(certificate: &Cert, now: Timestamp) -> Option<String> {
    let policy = StandardPolicy::new();
    let error = certificate.with_policy(&policy, system_time(now)).err()?;
    Some(format!("it is not valid by today's rules: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::openpgp::SigningKey;
    use openpgp::cert::{CertBuilder, CipherSuite};
    use repo_model::config::KeyAlgorithm;
    use std::time::Duration;

    #[test]
    fn our_keys_are_clean_and_what_rpm_4_18_refuses_is_named() {
        let made = Timestamp::from_unix_secs(1_763_600_000);
        let now = made.plus_secs(86_400);
        let ours = SigningKey::generate("A <a@b.example>", KeyAlgorithm::Ed25519, made).unwrap();
        assert_eq!(findings(ours.certificate(), now), [""; 0]);
        let quantum = pqc::PqcKey::generate("A <a@b.example>", made).unwrap();
        assert_eq!(findings(quantum.certificate(), now), [""; 0]);
        let built = |suite: CipherSuite| {
            let builder = CertBuilder::new()
                .set_creation_time(system_time(made))
                .set_cipher_suite(suite)
                .add_userid("B <b@b.example>");
            builder
                .set_validity_period(Duration::from_secs(40 * 86_400))
                .generate()
                .unwrap()
                .0
        };
        // What a library makes without being asked for otherwise.
        let usual = findings(&built(CipherSuite::Cv25519), now);
        assert!(usual[0].contains("rpm 4.18 does not import"), "{usual:?}");
        for (suite, says) in [
            (CipherSuite::P256, "ECDSA"),
            (CipherSuite::RSA2k, "too short"),
        ] {
            let found = findings(&built(suite), now);
            assert!(found.iter().any(|one| one.contains(says)), "{found:?}");
        }
        let (modern, _) = CertBuilder::new()
            .set_profile(openpgp::Profile::RFC9580)
            .and_then(|builder| builder.add_userid("C <c@b.example>").generate())
            .unwrap();
        let found = findings(&modern, Timestamp::from_unix_secs(4_000_000_000));
        assert!(
            found.iter().any(|one| one.contains("in a version 6 key")),
            "{found:?}"
        );
        let (nobody, _) = CertBuilder::new().generate().unwrap();
        let found = findings(&nobody, now);
        assert!(
            found.iter().any(|one| one.contains("0 user ids")),
            "{found:?}"
        );
    }
}
