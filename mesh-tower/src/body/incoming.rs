//! Bodies from the wire.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use hyper::body::Incoming;

use super::forward::forward_size;
use super::source::Source;
use super::trailers::clean;
use crate::BoxError;
use crate::transport::{ConnInfo, Held};

/// The frames of an answer, and the connection that they come from: free again when the stream has
/// ended.
pub(super) struct Answer {
    pub(super) frames: Incoming,
    pub(super) info: Arc<ConnInfo>,
    pub(super) connection: Option<Held>,
}

/// The frames of a message that is not ours.
pub(super) struct Frames {
    pub(super) frames: Incoming,
    pub(super) reading: Option<Reading>,
}

/// Says for as long as it exists that the frames of a request are still to be read.
pub(super) struct Reading(pub(super) Arc<AtomicBool>);

// === impl Answer ===

impl Source for Answer {
    fn kind(&self) -> &'static str {
        "Incoming"
    }

    fn conn_info(&self) -> Option<&ConnInfo> {
        Some(&self.info)
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.frames).poll_frame(cx));
        let whole = match &frame {
            None => true,
            Some(Ok(_)) => this.frames.is_end_stream(),
            Some(Err(_)) => {
                this.connection = None;
                false
            }
        };
        if whole && let Some(held) = this.connection.take() {
            held.reuse();
        }
        Poll::Ready(clean(frame))
    }

    forward_size!(frames);
}

// === impl Frames ===

impl Source for Frames {
    fn kind(&self) -> &'static str {
        "Incoming"
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.frames).poll_frame(cx));
        if self.reading.is_some() && (!matches!(frame, Some(Ok(_))) || self.frames.is_end_stream())
        {
            self.reading = None;
        }
        Poll::Ready(clean(frame))
    }

    forward_size!(frames);
}

// === impl Reading ===

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.store(false, Relaxed);
    }
}
