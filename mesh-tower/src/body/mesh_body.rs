use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use mesh_core::context::BodyClock;

use super::guarded::{Stream, stream};
use super::source::{Buffer, Source};
use super::trailers::Trailers;
use crate::BoxError;
use crate::context::CallContext;
use crate::endpoint::Watch;
use crate::runtime;
use crate::transport::ConnInfo;

/// The body of every request and response inside the mesh. See the [module](crate::body).
///
/// The body of a request also carries the context of its call through the assembled stack: see
/// [`CallContext`].
#[derive(Default)]
pub struct MeshBody {
    pub(super) inner: Inner,
}

/// A request is moved through every layer, so its body is small: with the head that is 256 bytes,
/// and up to there a copy costs half of what it costs beyond.
const _: () = assert!(size_of::<MeshBody>() <= 32);

/// Two variants, because that many fit into the room of one.
pub(super) enum Inner {
    /// One buffer, or nothing when it is empty.
    Full(Bytes),
    Rest(Rest),
}

/// A body that is more than a buffer, or one that carries a call.
pub(super) struct Rest {
    pub(super) call: Option<CallContext>,
    /// `None`: the body is the buffer that the call keeps.
    pub(super) stream: Option<Pin<Box<dyn Stream>>>,
}

// === impl MeshBody ===

impl MeshBody {
    /// A body without a byte.
    pub fn empty() -> Self {
        Self::default()
    }

    /// A body of one buffer.
    pub fn full(data: impl Into<Bytes>) -> Self {
        Self {
            inner: Inner::Full(data.into()),
        }
    }

    /// The connection that an answer's body comes from.
    pub(crate) fn conn_info(&self) -> Option<&ConnInfo> {
        match &self.inner {
            Inner::Full(_) => None,
            Inner::Rest(rest) => rest.stream.as_ref()?.conn_info(),
        }
    }

    /// Where to put who watches an answer's body until its end.
    pub(crate) fn watch(&mut self) -> Option<&mut Option<Watch>> {
        let nested = match &self.inner {
            Inner::Full(_) => false,
            // By another call, of which this one is a part.
            Inner::Rest(rest) => rest.stream.as_ref().is_none_or(|one| one.is_watched()),
        };
        if nested {
            *self = Self::of(std::mem::take(self));
        } else if let Inner::Full(data) = &mut self.inner {
            *self = Self::of(Buffer(std::mem::take(data)));
        }
        match &mut self.inner {
            Inner::Full(_) => None,
            Inner::Rest(rest) => Some(rest.stream.as_mut()?.as_mut().watch()),
        }
    }

    /// The clock of a request whose body is still to come; one that never moves if there is none, or if it
    /// is there.
    pub(crate) fn clock(&mut self) -> BodyClock {
        match &mut self.inner {
            Inner::Rest(Rest {
                stream: Some(stream),
                ..
            }) if stream.buffer().is_none() => {
                let clock = stream.as_mut().clock();
                let start = || BodyClock::start(runtime::now());
                clock.get_or_insert_with(start).clone()
            }
            _ => BodyClock::default(),
        }
    }

    /// For an HTTP/1.1 message with this head: its trailers are those that the head names, if
    /// trailers are `welcome` at all.
    #[must_use]
    pub(crate) fn for_http1(mut self, head: &HeaderMap, welcome: bool) -> Self {
        if let Inner::Rest(Rest {
            stream: Some(stream),
            ..
        }) = &mut self.inner
            && stream.size_hint().exact().is_none()
        {
            stream.as_mut().limit(Trailers::named(head, welcome));
        }
        self
    }

    /// Keeps `guard` until the stream has ended, failed or been dropped. Guards that were there
    /// before stay.
    #[must_use]
    pub fn with_guard(mut self, guard: impl Send + 'static) -> Self {
        if self.is_end_stream() {
            return self;
        }
        if let Inner::Full(data) = &mut self.inner {
            self = Self::of(Buffer(std::mem::take(data)));
        }
        if let Inner::Rest(rest) = &mut self.inner {
            let data = || rest.call.as_ref().map(|call| call.buffer().clone());
            rest.stream
                .get_or_insert_with(|| stream(Buffer(data().unwrap_or_default())))
                .as_mut()
                .keep(Box::new(guard));
        }
        self
    }

    /// The whole body, if it is in one buffer already: what can be sent a second time for free.
    pub fn as_buffer(&self) -> Option<Bytes> {
        match &self.inner {
            Inner::Full(data) => Some(data.clone()),
            Inner::Rest(rest) => match (&rest.stream, &rest.call) {
                (Some(stream), _) => stream.buffer(),
                (None, call) => call.as_ref().map(|call| call.buffer().clone()),
            },
        }
    }
}

impl Body for MeshBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if let Inner::Rest(Rest { call, stream: None }) = &this.inner {
            let data = call.as_ref().map(|call| call.buffer().clone());
            this.inner = Inner::Full(data.unwrap_or_default());
        }
        match &mut this.inner {
            Inner::Full(data) if data.is_empty() => Poll::Ready(None),
            Inner::Full(data) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(data))))),
            Inner::Rest(rest) => match &mut rest.stream {
                Some(stream) => stream.as_mut().poll_frame(cx),
                None => Poll::Ready(None),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Full(data) => data.is_empty(),
            Inner::Rest(rest) => match &rest.stream {
                Some(stream) => stream.is_end_stream(),
                None => rest.buffered() == 0,
            },
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Full(data) => SizeHint::with_exact(data.len() as u64),
            Inner::Rest(rest) => match &rest.stream {
                Some(stream) => stream.size_hint(),
                None => SizeHint::with_exact(rest.buffered() as u64),
            },
        }
    }
}

impl fmt::Debug for MeshBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.inner {
            Inner::Full(data) if data.is_empty() => "Empty",
            Inner::Full(_) => "Full",
            Inner::Rest(rest) => match &rest.stream {
                Some(stream) => stream.kind(),
                None if rest.buffered() == 0 => "Empty",
                None => "Full",
            },
        };
        f.debug_struct("MeshBody")
            .field("kind", &kind)
            .finish_non_exhaustive()
    }
}

/// A watched body inside another.
impl Source for MeshBody {
    fn buffer(&self) -> Option<Bytes> {
        self.as_buffer()
    }

    fn conn_info(&self) -> Option<&ConnInfo> {
        MeshBody::conn_info(self)
    }
}

// === impl Inner ===

impl Default for Inner {
    fn default() -> Self {
        Self::Full(Bytes::new())
    }
}

// === impl Rest ===

impl Rest {
    /// How much the call keeps, in bytes.
    fn buffered(&self) -> usize {
        self.call.as_ref().map_or(0, |call| call.buffer().len())
    }
}
