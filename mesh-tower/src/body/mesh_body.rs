use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use pin_project_lite::pin_project;

use crate::BoxError;
use crate::transport::Held;

/// The body of every request and response inside the mesh. See the [module](crate::body).
#[derive(Default)]
pub struct MeshBody {
    inner: Inner,
    /// The connection that the frames come from: free again when the stream has ended.
    connection: Option<Held>,
    guard: Option<Guard>,
}

type Guard = Box<dyn Any + Send>;

#[derive(Default)]
enum Inner {
    #[default]
    Empty,
    Full(Bytes),
    Incoming(Incoming),
    Boxed(Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>),
}

/// Two guards in one box. The earlier one is nearer to the wire and goes first.
struct Both<G> {
    _earlier: Guard,
    _later: G,
}

pin_project! {
    struct BoxedError<B> {
        #[pin]
        inner: B,
    }
}

// === impl MeshBody ===

impl MeshBody {
    /// A body without a byte.
    pub fn empty() -> Self {
        Self::default()
    }

    /// A body of one buffer.
    pub fn full(data: impl Into<Bytes>) -> Self {
        let data = data.into();
        if data.is_empty() {
            Self::empty()
        } else {
            Self::of(Inner::Full(data))
        }
    }

    /// Any body. A `MeshBody` comes back as it is; hyper's stream and the bodies of
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
            Some(body) if !body.is_end_stream() => {
                Self::of(Inner::Boxed(Box::pin(BoxedError { inner: body })))
            }
            _ => Self::empty(),
        }
    }

    fn of(inner: Inner) -> Self {
        Self {
            inner,
            connection: None,
            guard: None,
        }
    }

    pub(crate) fn incoming(body: Incoming) -> Self {
        Self::of(Inner::Incoming(body))
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

    /// Keeps `guard` until the stream has ended, failed or been dropped. Guards that were there
    /// before stay.
    #[must_use]
    pub fn with_guard(mut self, guard: impl Send + 'static) -> Self {
        if self.is_end_stream() {
            return self;
        }
        self.guard = Some(match self.guard.take() {
            None => Box::new(guard),
            Some(earlier) => Box::new(Both {
                _earlier: earlier,
                _later: guard,
            }),
        });
        self
    }

    /// Keeps the connection until the stream has ended.
    pub(crate) fn with_connection(mut self, held: Held) -> Self {
        if self.is_end_stream() {
            held.reuse();
        } else {
            self.connection = Some(held);
        }
        self
    }

    /// The whole body, if it is in one buffer already: what can be sent a second time for free.
    pub fn as_buffer(&self) -> Option<Bytes> {
        match &self.inner {
            Inner::Empty => Some(Bytes::new()),
            Inner::Full(data) => Some(data.clone()),
            Inner::Incoming(_) | Inner::Boxed(_) => None,
        }
    }

    fn release(&mut self, whole: bool) {
        if let Some(held) = self.connection.take()
            && whole
        {
            held.reuse();
        }
        self.guard = None;
    }
}

/// The value, if it is a `T`.
fn take<B: 'static, T: 'static>(slot: &mut Option<B>) -> Option<T> {
    let slot: &mut dyn Any = slot;
    slot.downcast_mut::<Option<T>>()?.take()
}

impl Body for MeshBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = match &mut this.inner {
            Inner::Empty => None,
            Inner::Full(data) => {
                let data = std::mem::take(data);
                this.inner = Inner::Empty;
                Some(Ok(Frame::data(data)))
            }
            Inner::Incoming(body) => {
                ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map_err(BoxError::from))
            }
            Inner::Boxed(body) => ready!(body.as_mut().poll_frame(cx)),
        };
        if this.connection.is_some() || this.guard.is_some() {
            match &frame {
                None => this.release(true),
                Some(Err(_)) => this.release(false),
                Some(Ok(_)) if this.is_end_stream() => this.release(true),
                Some(Ok(_)) => {}
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Empty => true,
            Inner::Full(_) => false,
            Inner::Incoming(body) => body.is_end_stream(),
            Inner::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Empty => SizeHint::with_exact(0),
            Inner::Full(data) => SizeHint::with_exact(data.len() as u64),
            Inner::Incoming(body) => body.size_hint(),
            Inner::Boxed(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for MeshBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.inner {
            Inner::Empty => "Empty",
            Inner::Full(_) => "Full",
            Inner::Incoming(_) => "Incoming",
            Inner::Boxed(_) => "Boxed",
        };
        f.debug_struct("MeshBody")
            .field("kind", &kind)
            .finish_non_exhaustive()
    }
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

// === impl BoxedError ===

impl<B> Body for BoxedError<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.project().inner.poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
