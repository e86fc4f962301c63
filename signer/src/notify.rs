//! Telling systemd that the service is ready (sd_notify(3)): one datagram to `$NOTIFY_SOCKET`.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The service manager, if one listens. Connected early, so that it works from inside the sandbox.
#[derive(Debug)]
pub(crate) struct Notifier(Option<UnixDatagram>);

impl Notifier {
    /// Connects to `$NOTIFY_SOCKET`: a path, or an abstract name after `@`.
    pub(crate) fn from_environment() -> Self {
        Self(
            std::env::var("NOTIFY_SOCKET")
                .ok()
                .and_then(|name| Self::connected(&name)),
        )
    }

    fn connected(name: &str) -> Option<UnixDatagram> {
        let address = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name).ok()?,
            None => SocketAddr::from_pathname(name).ok()?,
        };
        let socket = UnixDatagram::unbound().ok()?;
        socket.connect_addr(&address).ok()?;
        Some(socket)
    }

    /// Sends one state line; a service manager that went away is no trouble of ours.
    pub(crate) fn tell(&self, state: &str) {
        if let Some(socket) = &self.0 {
            let _ = socket.send(state.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_manager_hears_that_we_are_ready() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        Notifier(Notifier::connected(path.to_str().unwrap())).tell("READY=1");
        let mut buffer = [0; 64];
        let read = manager.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..read], b"READY=1");
        Notifier(Notifier::connected("/nowhere/at/all")).tell("READY=1");
    }
}
