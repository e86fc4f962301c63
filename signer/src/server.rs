//! The socket: who may speak, how long we listen, how we stop. What is said goes to the
//! [`Desk`](crate::desk::Desk).
//!
//! One thread a connection, at most [`MAX_CONNECTIONS`]; no async runtime next to the keys.

use crate::desk::{Desk, DeskError, OpenError};
use crate::frame::{self, FrameError};
use crate::notify::Notifier;
use crate::patience::Patient;
use crate::sandbox::{self, SandboxError};
use repo_model::config::SignerConfig;
use repo_model::wire::signer::{Request, Response};
use repo_model::{FileDigest, Timestamp};
use rustix::event::{PollFd, PollFlags, poll};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Connections served at once; one more is answered "busy".
pub const MAX_CONNECTIONS: usize = 32;
/// How often a waiting thread looks at the stop flag.
pub(crate) const TICK: Duration = Duration::from_millis(200);
/// How long a client may take to accept an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long requests under way may take to finish once we were told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// The signer cannot serve. The operator's fault unless the source says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Keys, policy or journal.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Another signer answers on the socket.
    #[error("another process answers on {}", path.display())]
    SocketTaken {
        /// The socket.
        path: PathBuf,
    },
    /// The path is something else.
    #[error("{} exists and is no socket", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The socket cannot be made or used.
    #[error("cannot {task} the socket {}", path.display())]
    Socket {
        /// `bind`, ...
        task: &'static str,
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The sandbox was asked for and failed.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

/// Tells a running server what to do; clones tell the same one.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>, Arc<AtomicBool>);

impl Stop {
    /// Asks the server to finish what it is doing and end.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody did.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The flag itself, for a signal handler to set.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    /// Set by a signal handler, it makes the server read the policy again.
    pub fn reread_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.1)
    }
}

/// Loads everything, binds the socket and serves until `stop`.
pub fn run(config: &SignerConfig, stop: &Stop) -> Result<(), ServeError> {
    Server::open(config)?.serve(stop)
}

/// A server that is ready: clients can connect, and are answered once [`Server::serve`] runs.
#[derive(Debug)]
pub struct Server {
    config: SignerConfig,
    desk: Arc<Desk>,
    listener: UnixListener,
}

impl Server {
    /// Loads keys, policy and journal and binds the socket.
    pub fn open(config: &SignerConfig) -> Result<Self, ServeError> {
        Self::at(config, Desk::open(config, now())?)
    }

    /// The same when the clock is right and the journal's last time is not.
    pub fn open_trusting_clock(config: &SignerConfig) -> Result<Self, ServeError> {
        Self::at(config, Desk::open_trusting_clock(config, now())?)
    }

    fn at(config: &SignerConfig, desk: Desk) -> Result<Self, ServeError> {
        let desk = Arc::new(desk);
        let listener = bind(&config.socket)?;
        Ok(Self {
            config: config.clone(),
            desk,
            listener,
        })
    }

    /// Confines the calling thread if the configuration says so, and serves until `stop`.
    ///
    /// Requests under way are finished, for ten seconds at most; the socket is taken away.
    pub fn serve(self, stop: &Stop) -> Result<(), ServeError> {
        let notifier = Notifier::from_environment();
        if self.config.sandbox {
            let confinement = sandbox::confine(&self.config)?;
            tracing::info!(
                sandbox.landlock = confinement.landlock,
                sandbox.seccomp = confinement.seccomp,
                "confined: landlock {}, seccomp {}",
                confinement.landlock,
                if confinement.seccomp { "on" } else { "off" }
            );
        } else {
            tracing::warn!("not confined: `signer.sandbox` is off");
        }
        tracing::info!("listening on {}", self.config.socket.display());
        notifier.tell("READY=1");
        let crowd = Crowd::default();
        while !stop.is_stopped() {
            if stop.1.swap(false, Ordering::Relaxed) {
                self.reread_policy();
            }
            if let Some(stream) = self.accept()? {
                self.admit(stream, &crowd, stop);
            }
        }
        notifier.tell("STOPPING=1");
        tracing::info!("stopping");
        if let Err(error) = std::fs::remove_file(&self.config.socket) {
            tracing::warn!("cannot remove the socket: {error}");
        }
        if !crowd.wait_until_empty(GRACE) {
            tracing::warn!(
                "requests were cut off: they did not end in {} s",
                GRACE.as_secs()
            );
        }
        Ok(())
    }

    fn reread_policy(&self) {
        match self.desk.reread_policy(now()) {
            Ok(()) => {}
            Err(error) => tracing::error!(
                alarm = "no-policy",
                "ALARM: nothing is signed until a policy can be used: {}",
                with_causes(&error)
            ),
        }
    }

    /// The next connection, or `None` when there was none for one tick.
    fn accept(&self) -> Result<Option<UnixStream>, ServeError> {
        let failed = |source: io::Error| ServeError::Socket {
            task: "accept on",
            path: self.config.socket.clone(),
            source,
        };
        let mut ready = [PollFd::new(&self.listener, PollFlags::IN)];
        let tick = rustix::event::Timespec::try_from(TICK).ok();
        match poll(&mut ready, tick.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(failed(error.into())),
        }
        match self.listener.accept() {
            Ok((stream, _)) => Ok(Some(stream)),
            Err(error) if is_passing(&error) => Ok(None),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                tracing::error!("cannot accept: {error}");
                std::thread::sleep(TICK);
                Ok(None)
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn admit(&self, mut stream: UnixStream, crowd: &Crowd, stop: &Stop) {
        let refusal = match self.may_speak(&stream) {
            Err(message) => Some(Response::BadRequest { message }),
            Ok(()) => None,
        };
        let seat = crowd.enter();
        let refusal = match (&refusal, &seat) {
            (None, None) => Some(Response::Failed {
                message: format!("{MAX_CONNECTIONS} connections are open"),
            }),
            _ => refusal,
        };
        if let Some(refusal) = refusal {
            tracing::warn!("a connection was refused: {refusal:?}");
            let _ = stream.set_write_timeout(Some(TICK));
            let _ = frame::send(&mut stream, &refusal);
            return;
        }
        let (desk, stop) = (Arc::clone(&self.desk), stop.clone());
        let serve = move || {
            let _seat = seat;
            match converse(&desk, stream, &stop) {
                Ok(()) => {}
                Err(error) => tracing::info!("a connection ended: {error}"),
            }
        };
        if let Err(error) = std::thread::Builder::new()
            .name("connection".to_owned())
            .spawn(serve)
        {
            tracing::error!("cannot start a thread: {error}");
        }
    }

    /// Whether the process at the other end runs as a user that may ask.
    fn may_speak(&self, stream: &UnixStream) -> Result<(), String> {
        let peer = rustix::net::sockopt::socket_peercred(stream)
            .map_err(|error| format!("cannot tell who connects: {error}"))?;
        let uid = peer.uid.as_raw();
        let allowed = &self.config.allowed_uids;
        let own = [rustix::process::geteuid().as_raw(), 0];
        if allowed.contains(&uid) || (allowed.is_empty() && own.contains(&uid)) {
            return Ok(());
        }
        Err(format!(
            "user id {uid} may not ask this signer: see `signer.allowed_uids`"
        ))
    }
}

/// One connection, request after request.
fn converse(desk: &Desk, stream: UnixStream, stop: &Stop) -> Result<(), FrameError> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    let mut writer = stream.try_clone()?;
    let mut reader = Patient::new(stream, stop.clone())?;
    loop {
        reader.between_requests();
        let json = match frame::receive(&mut reader) {
            Ok(Some(json)) => json,
            Ok(None) => return Ok(()),
            Err(error @ FrameError::TooLong { .. }) => {
                let message = error.to_string();
                return frame::send(&mut writer, &Response::BadRequest { message });
            }
            Err(error) => return Err(error),
        };
        let digest = FileDigest::of(&json);
        let request: Request = match serde_json::from_slice(&json) {
            Ok(request) => request,
            Err(error) => {
                // What follows a message that was not understood cannot be told from a message.
                let message = format!("not a request: {error}");
                return frame::send(&mut writer, &Response::BadRequest { message });
            }
        };
        drop(json);
        let response = match desk.answer(request, digest, &mut reader, now()) {
            Ok(response) => response,
            Err(DeskError::Body(error)) => return Err(error.into()),
            Err(error) => failed(&error),
        };
        frame::send(&mut writer, &response)?;
        if stop.is_stopped() {
            return Ok(());
        }
    }
}

/// The log tells all, the answer only that it is our fault.
fn failed(error: &DeskError) -> Response {
    tracing::error!("a request failed: {}", with_causes(error));
    let message = match error {
        DeskError::NoPolicy { .. } => error.to_string(),
        DeskError::Journal(_) => {
            "the decision cannot be written down, so nothing is signed; the signer's log says why"
                .to_owned()
        }
        _ => "the signer could not do it; its log says why".to_owned(),
    };
    Response::Failed { message }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut chain = error.to_string();
    let mut source = error.source();
    while let Some(next) = source {
        chain.push_str(": ");
        chain.push_str(&next.to_string());
        source = next.source();
    }
    chain
}

/// Binds the socket, 0660. Removes what an earlier run left only when nobody answers there.
fn bind(path: &Path) -> Result<UnixListener, ServeError> {
    let failed = |task: &'static str| {
        move |source| ServeError::Socket {
            task,
            path: path.to_owned(),
            source,
        }
    };
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(failed("make the directory of"))?;
    }
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(failed("look for")(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ServeError::NotASocket {
                path: path.to_owned(),
            });
        }
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                tracing::info!("removing {}, which nobody answers", path.display());
                std::fs::remove_file(path).map_err(failed("remove"))?;
            }
            _ => {
                return Err(ServeError::SocketTaken {
                    path: path.to_owned(),
                });
            }
        },
    }
    // Between bind and chmod the umask of the process rules; no umask in use grants others `w`,
    // which connecting needs, and every peer is checked besides.
    let listener = UnixListener::bind(path).map_err(failed("bind"))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))
        .map_err(failed("restrict"))?;
    listener.set_nonblocking(true).map_err(failed("bind"))?;
    Ok(listener)
}

/// A client that gave up between knocking and being let in is no trouble of ours.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted
    )
}

/// The wall clock; the only place in the server that reads it.
fn now() -> Timestamp {
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_unix_secs(i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX))
}

/// Counts the connections that are open.
#[derive(Debug, Default, Clone)]
struct Crowd(Arc<(Mutex<usize>, Condvar)>);

impl Crowd {
    /// A seat, if one is free; dropping it gives it back.
    fn enter(&self) -> Option<Seat> {
        let mut taken = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *taken >= MAX_CONNECTIONS {
            return None;
        }
        *taken += 1;
        Some(Seat(self.clone()))
    }

    fn wait_until_empty(&self, longest: Duration) -> bool {
        let taken = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .0
            .1
            .wait_timeout_while(taken, longest, |taken| *taken > 0);
        let (taken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *taken == 0
    }
}

#[derive(Debug)]
struct Seat(Crowd);

impl Drop for Seat {
    fn drop(&mut self) {
        let (taken, changed) = &*self.0.0;
        *taken.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        changed.notify_all();
    }
}
