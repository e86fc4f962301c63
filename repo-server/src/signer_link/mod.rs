//! The way to the signer: its Unix socket, or TLS to a gate on the signer's host.
//!
//! The process with the keys speaks no network. For a signer on a separate host, [`gate`] runs beside it
//! as a user of its own: it lets in whoever holds a pinned certificate, and passes bytes between that
//! connection and the socket. It sees no keys; taken over, it is what a server that was taken over is.

pub mod gate;
mod tls;

pub use self::tls::TlsError;
use hallmark_signer::client::{Client, ClientError};
use repo_model::config::{ServerConfig, SignerTlsConfig};
use rustls::{ClientConnection, StreamOwned};
use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Duration;

/// How long the gate may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to the signer as the configuration says. Blocking.
pub fn connect(config: &ServerConfig) -> Result<Client, ClientError> {
    match &config.signer_tls {
        None => Client::connect(&config.signer_socket),
        Some(tls) => over_tls(tls).map_err(|source| ClientError::Unreachable {
            socket: PathBuf::from(&tls.address),
            source,
        }),
    }
}

fn over_tls(config: &SignerTlsConfig) -> io::Result<Client> {
    // Read for each connection: certificates are renewed under a running server.
    let settings = tls::client(config).map_err(io::Error::other)?;
    let name = config.host_name().to_owned();
    let name = name.try_into().map_err(io::Error::other)?;
    let session = ClientConnection::new(settings, name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(session, tcp(&config.address)?);
    stream.sock.set_write_timeout(Some(Client::WRITE_TIMEOUT))?;
    stream.sock.set_read_timeout(Some(CONNECT_TIMEOUT))?;
    // Before anything is said: a wrong host is not to hear it.
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    tls::check_pins(stream.conn.peer_certificates(), &config.peer_sha256)
        .map_err(io::Error::other)?;
    stream.sock.set_read_timeout(Some(Client::REPLY_TIMEOUT))?;
    Ok(Client::over(
        Box::new(stream),
        PathBuf::from(&config.address),
    ))
}

fn tcp(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
