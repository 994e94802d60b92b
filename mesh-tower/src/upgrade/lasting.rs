//! The body of an answer that is a tunnel: it has no bytes, and lasts as long as the tunnel.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame};

use crate::BoxError;
use crate::body::MeshBody;
use crate::transport::ConnInfo;

/// What a tunnel and the body that stands for it know of each other. Nobody is woken: whoever moves
/// the bytes polls the body too.
#[derive(Clone, Debug, Default)]
pub(crate) struct Life(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// Bytes have moved since the last look.
    moved: AtomicBool,
    over: AtomicBool,
}

/// The body. Bytes that move are an empty frame, so that who watches for silence sees none.
pub(crate) struct Lasting {
    life: Life,
    pub(crate) info: Option<Arc<ConnInfo>>,
}

// === impl Life ===

impl Life {
    pub(crate) fn moved(&self) {
        if !self.0.moved.load(Relaxed) {
            self.0.moved.store(true, Relaxed);
        }
    }

    /// The tunnel is over: the call ends as an answer does that was read to its end.
    pub(crate) fn end(&self, mut body: MeshBody) {
        self.0.over.store(true, Relaxed);
        let mut cx = Context::from_waker(Waker::noop());
        // A frame for bytes that have moved may come first.
        for _ in 0..2 {
            match Pin::new(&mut body).poll_frame(&mut cx) {
                Poll::Ready(Some(Ok(_))) => {}
                _ => return,
            }
        }
    }
}

// === impl Lasting ===

impl Lasting {
    pub(crate) fn new(life: &Life, info: Option<Arc<ConnInfo>>) -> Self {
        let life = life.clone();
        Self { life, info }
    }
}

impl Body for Lasting {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let State { moved, over } = &*self.life.0;
        if over.load(Relaxed) {
            return Poll::Ready(None);
        }
        match moved.swap(false, Relaxed) {
            true => Poll::Ready(Some(Ok(Frame::data(Bytes::new())))),
            false => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.life.0.over.load(Relaxed)
    }
}
