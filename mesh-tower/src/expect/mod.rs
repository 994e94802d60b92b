//! `Expect: 100-continue` through a proxy (RFC 9110 10.1.1): whether a body is sent is decided by the
//! application, not by the first hop.
//!
//! ```text
//! client --head--> [server]  --head--> application
//!                             <--100--             the body's gate opens: it is read, and so asked for
//!        <--100--
//!        --body------------------------->
//! ```
//!
//! HTTP/2 as hyper has it tells nobody of a 100, so between two of us such a request goes over
//! HTTP/1.1. A client that sends its body without having been asked opens the gate too, and where that
//! cannot be seen (it speaks HTTP/2, or is the process itself) the gate opens after a second.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Release},
};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::header::EXPECT;
use http::{Request, StatusCode};
use http_body::{Body, Frame};
use tokio::time::Sleep;

use crate::BoxError;
use crate::body::{MeshBody, forward_size};

/// How long a client waits that nobody can see waiting: as long as curl does.
const UNSEEN: Duration = Duration::from_secs(1);

/// In the extensions of a request whose client waits to be asked for the body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expectation(Arc<State>);

#[derive(Debug, Default)]
struct State {
    open: AtomicBool,
    refused: AtomicBool,
    reader: AtomicWaker,
}

/// Kept by the answer: one that came without asking for the body ends the wait for it, and with it
/// the connection, on which the next bytes would be taken for that body.
pub(crate) struct Answered(Expectation);

/// A body that is not read before its gate is open.
struct Gated {
    inner: MeshBody,
    gate: Expectation,
    unseen: Option<Pin<Box<Sleep>>>,
}

/// Whether a request's body waits to be asked for.
pub(crate) fn is_expected<B: Body>(request: &Request<B>) -> bool {
    !request.body().is_end_stream()
        && request
            .headers()
            .get(EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Holds the body of such a request back until the answer 100 comes.
pub(crate) fn hold(request: &mut Request<MeshBody>) -> Answered {
    let seen = request.extensions().get::<Expectation>().cloned();
    let unseen = seen.is_none().then(|| Box::pin(tokio::time::sleep(UNSEEN)));
    let gate = seen.unwrap_or_default();
    let inner = std::mem::take(request.body_mut());
    let (asked, answered) = (gate.clone(), Answered(gate.clone()));
    hyper::ext::on_informational(request, move |answer| {
        if answer.status() == StatusCode::CONTINUE {
            asked.open();
        }
    });
    *request.body_mut() = MeshBody::new(Gated {
        inner,
        gate,
        unseen,
    });
    answered
}

// === impl Expectation ===

impl Expectation {
    /// The body is asked for, or is on its way unasked.
    pub(crate) fn open(&self) {
        self.0.open.store(true, Release);
        self.0.reader.wake();
    }

    pub(crate) fn is_open(&self) -> bool {
        self.0.open.load(Acquire)
    }
}

// === impl Answered ===

impl Drop for Answered {
    fn drop(&mut self) {
        let state = &*self.0.0;
        if !state.open.load(Acquire) {
            state.refused.store(true, Release);
            state.reader.wake();
        }
    }
}

// === impl Gated ===

impl Body for Gated {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if !this.gate.is_open() {
            this.gate.0.reader.register(cx.waker());
            let waited = |unseen: &mut Pin<Box<Sleep>>| unseen.as_mut().poll(cx).is_ready();
            if this.gate.0.refused.load(Acquire) {
                let error = std::io::Error::from(std::io::ErrorKind::ConnectionAborted);
                return Poll::Ready(Some(Err(error.into())));
            }
            if !this.gate.is_open() && !this.unseen.as_mut().is_some_and(waited) {
                return Poll::Pending;
            }
            this.gate.0.open.store(true, Release);
        }
        Pin::new(&mut this.inner).poll_frame(cx)
    }

    forward_size!(inner);
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn expecting() -> Request<MeshBody> {
        Request::put("/")
            .header("expect", "100-Continue")
            .body(MeshBody::full("body"))
            .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_waits_until_it_is_asked_for() {
        let mut request = expecting();
        assert!(is_expected(&request));
        let gate = Expectation::default();
        request.extensions_mut().insert(gate.clone());
        let _answered = hold(&mut request);
        assert_eq!(request.body().size_hint().exact(), Some(4));
        let mut body = request.into_body();
        let early = tokio::time::timeout(Duration::from_secs(300), body.frame()).await;
        assert!(early.is_err());
        gate.open();
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "body");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_without_asking_ends_the_wait() {
        let mut request = expecting();
        request.extensions_mut().insert(Expectation::default());
        let answered = hold(&mut request);
        let mut body = request.into_body();
        let early = tokio::time::timeout(Duration::from_secs(1), body.frame()).await;
        assert!(early.is_err());
        drop(answered);
        assert!(body.frame().await.unwrap().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_nobody_sees_waits_a_second() {
        let mut request = expecting();
        let _answered = hold(&mut request);
        let began = tokio::time::Instant::now();
        request.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(began.elapsed(), UNSEEN);
        assert!(!is_expected(
            &Request::get("/").body(MeshBody::empty()).unwrap()
        ));
    }
}
