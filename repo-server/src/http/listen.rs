//! Connections: how many there may be, and how long a client may hold one without using it.

use axum::Router;
use axum::extract::ConnectInfo;
use axum::extract::Request;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// How much a client may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once; further ones wait in the system's queue.
    pub connections: usize,
    /// For the head of a request, the wait for it included.
    pub head: Duration,
    /// Without taking a byte of the answer.
    pub stalled: Duration,
}

impl Limits {
    /// So many connections, and the usual times.
    pub fn of(connections: usize) -> Self {
        Self {
            connections,
            head: Duration::from_secs(30),
            stalled: Duration::from_secs(60),
        }
    }
}

/// Pause after the system refused a connection, for want of file descriptors for example.
const REFUSED: Duration = Duration::from_millis(100);

/// Serves until `stop` is cancelled, then until the last running request has its answer.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    while let Some((stream, client, place)) = next(&listener, &places, &stop).await {
        let connection = connection(stream, client, router.clone(), limits);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that goes away or talks no HTTP is its own business.
            if let Err(error) = connection.await {
                tracing::debug!(%client, "connection from {client} ended: {error}");
            }
            drop(place);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

/// The next connection, with the place it takes; `None` at the end.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let accept = async {
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, client)) => return Some((stream, client, place)),
                Err(error) => {
                    tracing::warn!(%error, "cannot take a connection: {error}");
                    tokio::time::sleep(REFUSED).await;
                }
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => None,
        accepted = accept => accepted,
    }
}

type Io = TokioIo<std::pin::Pin<Box<TimeoutStream<TcpStream>>>>;

fn connection(
    stream: TcpStream,
    client: SocketAddr,
    router: Router,
    limits: Limits,
) -> hyper::server::conn::http1::Connection<
    Io,
    impl hyper::service::HttpService<
        hyper::body::Incoming,
        ResBody = axum::body::Body,
        Error = std::convert::Infallible,
        Future: Send,
    >,
> {
    // Small answers go out at once.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.stalled));
    let service = router.map_request(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut request: Request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(ConnectInfo(client));
        request
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .serve_connection(
            TokioIo::new(Box::pin(stream)),
            TowerToHyperService::new(service),
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// Serves `/` with so many bytes; gives its address and how to stop it.
    async fn start(limits: Limits, bytes: usize) -> (SocketAddr, CancellationToken, TaskEnd) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let router = Router::new().route("/", get(move || async move { vec![b'x'; bytes] }));
        let end = tokio::spawn(serve(listener, router, limits, stop.clone()));
        (address, stop, end)
    }

    type TaskEnd = tokio::task::JoinHandle<()>;

    fn limits(connections: usize) -> Limits {
        Limits {
            connections,
            head: Duration::from_millis(200),
            stalled: Duration::from_millis(200),
        }
    }

    async fn ask(address: SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        stream
    }

    async fn answer(mut stream: TcpStream) -> usize {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        bytes.len()
    }

    #[tokio::test]
    async fn who_sends_no_request_gives_its_place_to_the_next() {
        let (address, _stop, _end) = start(limits(1), 5).await;
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"GET / HT").await.unwrap();
        assert!(answer(ask(address).await).await > 5, "served afterwards");
        assert_eq!(answer(idle).await, 0, "cut off without an answer");
    }

    #[tokio::test]
    async fn who_takes_no_byte_of_the_answer_is_cut_off() {
        let bytes = 64 << 20;
        let (address, _stop, _end) = start(limits(1), bytes).await;
        let stalled = ask(address).await;
        // More than the system's buffers hold is on its way; nobody reads it.
        assert!(
            answer(ask(address).await).await > bytes,
            "served afterwards"
        );
        assert!(answer(stalled).await < bytes);
    }

    #[tokio::test]
    async fn the_end_waits_for_answers_that_are_under_way() {
        let usual = Limits::of(8);
        let (address, stop, end) = start(usual, 64 << 20).await;
        let mut busy = ask(address).await;
        busy.read_exact(&mut [0; 100]).await.unwrap();
        stop.cancel();
        let rest = tokio::spawn(answer(busy));
        end.await.unwrap();
        assert!(rest.await.unwrap() > 60 << 20, "the answer is whole");
        assert!(TcpStream::connect(address).await.is_err());
    }
}
