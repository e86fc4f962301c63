//! TLS 1.3 between server and gate: both show a certificate, both check the other's against one authority
//! and against pinned digests.

use repo_model::FileDigest;
use repo_model::config::{GateConfig, SignerTlsConfig};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The connection cannot be set up, or not with this peer. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file cannot be read, or does not hold what it should.
    #[error("cannot read {what} from {}", path.display())]
    File {
        /// `certificates`, `a private key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// A file without a certificate.
    #[error("{} holds no certificate", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Key and certificate do not fit, or the library refuses them.
    #[error("the TLS settings cannot be used")]
    Settings(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The authority vouches for the peer, but it is not one that is named.
    #[error("the peer's certificate has SHA-256 {found}, which is not in `peer_sha256`")]
    NotPinned {
        /// Of its DER.
        found: FileDigest,
    },
    /// The peer showed none.
    #[error("the peer showed no certificate")]
    NoCertificate,
}

fn settings(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> TlsError {
    TlsError::Settings(error.into())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let file = |source| TlsError::File {
        what: "certificates",
        path: path.to_owned(),
        source,
    };
    let all: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(file)?
        .collect::<Result<_, _>>()
        .map_err(file)?;
    if all.is_empty() {
        return Err(TlsError::Empty {
            path: path.to_owned(),
        });
    }
    Ok(all)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|source| TlsError::File {
        what: "a private key",
        path: path.to_owned(),
        source,
    })
}

fn authority(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(settings)?;
    }
    Ok(Arc::new(roots))
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The server's side of the connection.
pub(super) fn client(config: &SignerTlsConfig) -> Result<Arc<ClientConfig>, TlsError> {
    let settings_of = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(settings)?
        .with_root_certificates(authority(&config.authority)?)
        .with_client_auth_cert(
            certificates(&config.certificate)?,
            private_key(&config.private_key)?,
        )
        .map_err(settings)?;
    Ok(Arc::new(settings_of))
}

/// The gate's side: nobody gets in without a certificate of the authority.
pub(super) fn server(config: &GateConfig) -> Result<Arc<ServerConfig>, TlsError> {
    let verifier =
        WebPkiClientVerifier::builder_with_provider(authority(&config.authority)?, provider());
    let settings_of = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(settings)?
        .with_client_cert_verifier(verifier.build().map_err(settings)?)
        .with_single_cert(
            certificates(&config.certificate)?,
            private_key(&config.private_key)?,
        )
        .map_err(settings)?;
    Ok(Arc::new(settings_of))
}

/// Whether the peer's own certificate is one of those named; an empty list names all.
pub(super) fn check_pins(
    shown: Option<&[CertificateDer<'_>]>,
    pins: &[FileDigest],
) -> Result<(), TlsError> {
    let first = shown
        .and_then(<[_]>::first)
        .ok_or(TlsError::NoCertificate)?;
    let found = FileDigest::of(first.as_ref());
    match pins.is_empty() || pins.contains(&found) {
        true => Ok(()),
        false => Err(TlsError::NotPinned { found }),
    }
}
