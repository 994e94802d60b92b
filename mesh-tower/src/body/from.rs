//! What a body is made of: other bodies, buffers, the two ends of a connection, a tunnel.

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Body;
use http_body_util::{Empty, Full};
use hyper::body::Incoming;

use super::MeshBody;
use super::guarded::stream;
use super::incoming::{Answer, Frames, Reading};
use super::mesh_body::{Inner, Rest};
use super::source::{BoxedError, Source};
use crate::BoxError;
use crate::transport::{ConnInfo, Held};
use crate::upgrade::Lasting;

impl MeshBody {
    /// Any body. A `MeshBody` comes back as it is; the bodies of
    /// `http_body_util` that hold one buffer or none cost no allocation.
    pub fn new<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut slot = Some(body);
        if let Some(body) = take::<_, Self>(&mut slot) {
            return body;
        }
        if let Some(body) = take::<_, Incoming>(&mut slot) {
            return Self::incoming(body);
        }
        if let Some(body) = take::<_, Full<Bytes>>(&mut slot) {
            return Self::from_full(body);
        }
        if take::<_, Empty<Bytes>>(&mut slot).is_some() {
            return Self::empty();
        }
        match slot {
            // Ended and exactly nothing: nothing can follow, not even trailers.
            Some(body) if !body.is_end_stream() => Self::of(BoxedError { inner: body }),
            _ => Self::empty(),
        }
    }

    /// A body whose end is still to come.
    pub(super) fn of(source: impl Source + 'static) -> Self {
        Self {
            inner: Inner::Rest(Rest {
                call: None,
                stream: Some(stream(source)),
            }),
        }
    }

    fn from_full(body: Full<Bytes>) -> Self {
        let mut body = body;
        let waker = std::task::Waker::noop();
        // One buffer is there at the first poll or never.
        match Pin::new(&mut body).poll_frame(&mut Context::from_waker(waker)) {
            Poll::Ready(Some(Ok(frame))) => {
                frame.into_data().map_or_else(|_| Self::empty(), Self::full)
            }
            _ => Self::empty(),
        }
    }

    pub(crate) fn incoming(frames: Incoming) -> Self {
        if frames.is_end_stream() {
            return Self::empty();
        }
        Self::of(Frames {
            frames,
            reading: None,
        })
    }

    /// The same for a request of which it is to be known whether all of it has been read.
    pub(crate) fn request(frames: Incoming, reading: &Arc<AtomicBool>) -> Self {
        if frames.is_end_stream() {
            return Self::empty();
        }
        reading.store(true, Relaxed);
        Self::of(Frames {
            frames,
            reading: Some(Reading(reading.clone())),
        })
    }

    /// The body of an answer. It keeps the connection until the stream has ended.
    pub(crate) fn answer(frames: Incoming, connection: Held, info: Arc<ConnInfo>) -> Self {
        if frames.is_end_stream() {
            connection.reuse();
            return Self::empty();
        }
        Self::of(Answer {
            frames,
            info,
            connection: Some(connection),
        })
    }

    /// The body of an answer that is a tunnel.
    pub(crate) fn lasting(tunnel: Lasting) -> Self {
        Self::of(tunnel)
    }
}

/// The value, if it is a `T`.
fn take<B: 'static, T: 'static>(slot: &mut Option<B>) -> Option<T> {
    let slot: &mut dyn Any = slot;
    slot.downcast_mut::<Option<T>>()?.take()
}

impl From<()> for MeshBody {
    fn from((): ()) -> Self {
        Self::empty()
    }
}

impl From<Bytes> for MeshBody {
    fn from(data: Bytes) -> Self {
        Self::full(data)
    }
}

impl From<String> for MeshBody {
    fn from(text: String) -> Self {
        Self::full(text)
    }
}

impl From<&'static str> for MeshBody {
    fn from(text: &'static str) -> Self {
        Self::full(text)
    }
}

impl From<Incoming> for MeshBody {
    fn from(body: Incoming) -> Self {
        Self::incoming(body)
    }
}
