//! Making a key inside a token, where the token makes keys for others at all.

use super::super::KeyError;
use super::module::OpenToken;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use repo_model::config::KeyAlgorithm;
use repo_model::wire::signer::KeyRole;

/// `edwards25519` as a PrintableString in DER (PKCS #11 3.0, section 2.3.10).
const EDWARDS25519: &[u8] = b"\x13\x0cedwards25519";
/// `prime256v1` as an OBJECT IDENTIFIER in DER.
const P256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";

/// A kind of key pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    P256,
    Ed25519,
    /// With a modulus of so many bits.
    Rsa(u16),
}

impl Kind {
    /// The kind for a role, by the configured algorithm of OpenPGP keys.
    pub(super) fn of(role: KeyRole, algorithm: KeyAlgorithm) -> Self {
        match (role, algorithm) {
            (KeyRole::Statement, _) => Self::P256,
            (_, KeyAlgorithm::Ed25519) => Self::Ed25519,
            (_, KeyAlgorithm::Rsa3072) => Self::Rsa(3072),
            (_, KeyAlgorithm::Rsa4096) => Self::Rsa(4096),
        }
    }

    fn mechanism(self) -> Mechanism<'static> {
        match self {
            Self::P256 => Mechanism::EccKeyPairGen,
            Self::Ed25519 => Mechanism::EccEdwardsKeyPairGen,
            Self::Rsa(_) => Mechanism::RsaPkcsKeyPairGen,
        }
    }

    fn parameters(self) -> Vec<Attribute> {
        match self {
            Self::P256 => vec![Attribute::EcParams(P256.to_vec())],
            Self::Ed25519 => vec![Attribute::EcParams(EDWARDS25519.to_vec())],
            Self::Rsa(bits) => vec![
                Attribute::ModulusBits(u64::from(bits).into()),
                Attribute::PublicExponent(vec![1, 0, 1]),
            ],
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::P256 => f.write_str("P-256"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Rsa(bits) => write!(f, "RSA-{bits}"),
        }
    }
}

/// Makes a key pair that stays in the token.
pub(super) fn generate(token: &OpenToken, label: &str, kind: Kind) -> Result<(), KeyError> {
    let mechanism = kind.mechanism();
    let makes_none = |why: String| KeyError::TokenMakesNone {
        name: token.name().to_owned(),
        label: label.to_owned(),
        kind: kind.to_string(),
        why,
    };
    let Some(offered) = token.mechanism(&mechanism)? else {
        return Err(makes_none("it has no mechanism for that".to_owned()));
    };
    if let Kind::Rsa(bits) = kind {
        let (least, most) = (offered.min_key_size(), offered.max_key_size());
        if !(least..=most).contains(&usize::from(bits)) {
            return Err(makes_none(format!(
                "its RSA keys have {least} to {most} bits"
            )));
        }
    }
    let label = Attribute::Label(label.as_bytes().to_vec());
    let mut public = vec![
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Verify(true),
        label.clone(),
    ];
    public.extend(kind.parameters());
    let private = [
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        label,
    ];
    token.with("make a key in", |session| {
        session.generate_key_pair(&mechanism, &public, &private)
    })?;
    Ok(())
}
