//! `hallmark signer-gate`: TLS on one side, the signer's Unix socket on the other. It reads nothing of what
//! it passes.

use super::tls::{self, TlsError};
use repo_model::config::Config;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Connections at once; the signer takes as many.
const MAX_CONNECTIONS: usize = 32;
/// How long a stranger may take to show who it is.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The gate cannot run. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// There is no `[gate]` section.
    #[error("the configuration has no [gate]")]
    NoGate,
    /// It would let in whoever the authority ever signs for.
    #[error(
        "`gate.peer_sha256` is empty: name the certificate of each server that may ask the signer"
    )]
    NoPins,
    /// Certificates or keys.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A gate that listens.
#[derive(Debug)]
pub struct Gate {
    listener: TcpListener,
    settings: Arc<rustls::ServerConfig>,
    pins: Vec<repo_model::FileDigest>,
    socket: PathBuf,
}

impl Gate {
    /// Reads certificates and binds the address, as `[gate]` says.
    pub async fn open(config: &Config) -> Result<Self, GateError> {
        let gate = config.gate.as_ref().ok_or(GateError::NoGate)?;
        if gate.peer_sha256.is_empty() {
            return Err(GateError::NoPins);
        }
        let settings = tls::server(gate)?;
        let listener =
            TcpListener::bind(&gate.listen)
                .await
                .map_err(|source| GateError::Listen {
                    address: gate.listen.clone(),
                    source,
                })?;
        Ok(Self {
            listener,
            settings,
            pins: gate.peer_sha256.clone(),
            socket: config.signer.socket.clone(),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Passes connections on until `stop`; those that are open then are cut off, and their requests are
    /// sent again by the server.
    pub async fn serve(self, stop: CancellationToken) {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.settings));
        let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let pass: Arc<(Vec<_>, PathBuf)> = Arc::new((self.pins, self.socket));
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!("cannot accept: {error}");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            };
            let Ok(seat) = Arc::clone(&seats).try_acquire_owned() else {
                tracing::warn!(%peer, "{peer} is turned away: {MAX_CONNECTIONS} connections are open");
                continue;
            };
            let (acceptor, pass, stop) = (acceptor.clone(), Arc::clone(&pass), stop.clone());
            tokio::spawn(async move {
                let _seat = seat;
                let passed = tokio::select! {
                    passed = one(stream, &acceptor, &pass.0, &pass.1) => passed,
                    () = stop.cancelled() => return,
                };
                if let Err(error) = passed {
                    tracing::warn!(%peer, "connection of {peer}: {error}");
                }
            });
        }
    }
}

/// One connection, from handshake to end.
async fn one(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    pins: &[repo_model::FileDigest],
    socket: &Path,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut outside = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    tls::check_pins(outside.get_ref().1.peer_certificates(), pins).map_err(io::Error::other)?;
    let mut inside = UnixStream::connect(socket).await?;
    // The signer ends what is silent for too long.
    match tokio::io::copy_bidirectional(&mut outside, &mut inside).await {
        // The server just hangs up when it has its answer.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
        other => other.map(|_| ()),
    }
}
