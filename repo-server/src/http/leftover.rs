//! What a refused client is still sending. Closing a connection with unread bytes resets it, and the
//! client then loses the very answer that says why; so what is left of a body is read and thrown away,
//! within limits, while the answer is on its way.

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::Request;
use futures_util::{Stream, StreamExt as _};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tower_http::timeout::TimeoutBody;

/// Most that is thrown away, bytes: four parts of an upload.
const MAX_BYTES: u64 = 64 << 20;
/// A client that sends nothing for so long is not waited for.
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// Nor is one that takes longer than this for all of it.
const MAX_TIME: Duration = Duration::from_secs(30);
/// A client that stops in the middle of a body for so long is cut off; what came of an upload is kept.
const MAX_STALL: Duration = Duration::from_secs(60);

/// The other end of a body that was handed on.
#[derive(Clone)]
pub struct Leftover(Arc<Mutex<BodyDataStream>>);

impl Leftover {
    /// The request with its body shared.
    pub fn of(request: Request) -> (Request, Self) {
        let (parts, body) = request.into_parts();
        let body = Body::new(TimeoutBody::new(MAX_STALL, body));
        let leftover = Self(Arc::new(Mutex::new(body.into_data_stream())));
        (
            Request::from_parts(parts, Body::from_stream(leftover.clone())),
            leftover,
        )
    }

    /// Reads on until the end, a limit, or a failure.
    pub async fn discard(self) {
        let _ = tokio::time::timeout(MAX_TIME, self.read_on()).await;
    }

    async fn read_on(mut self) {
        let mut left = MAX_BYTES;
        while let Ok(Some(Ok(chunk))) = tokio::time::timeout(MAX_PAUSE, self.next()).await {
            left = left.saturating_sub(chunk.len() as u64);
            if left == 0 {
                return;
            }
        }
    }
}

impl Stream for Leftover {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.0.lock() {
            Ok(mut body) => body.poll_next_unpin(context),
            Err(_) => Poll::Ready(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_handler_leaves_is_read_to_the_end() {
        let chunks =
            ["one", "two", "three"].map(|chunk| Ok::<_, std::io::Error>(Bytes::from(chunk)));
        let body = Body::from_stream(futures_util::stream::iter(chunks));
        let (request, leftover) = Leftover::of(Request::new(body));
        let mut read = request.into_body().into_data_stream();
        assert_eq!(read.next().await.unwrap().unwrap(), "one");
        drop(read);
        leftover.clone().discard().await;
        let mut rest = leftover;
        assert!(rest.next().await.is_none());
    }
}
