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
}

/// A request is moved through every layer, so its body is small: with the head that is 256 bytes,
/// and up to there a copy costs half of what it costs beyond.
const _: () = assert!(size_of::<MeshBody>() <= 32);

type Guard = Box<dyn Any + Send>;

/// Two variants, because that many fit into the room of one.
enum Inner {
    /// One buffer, or nothing when it is empty.
    Full(Bytes),
    Stream(Pin<Box<dyn Stream>>),
}

/// What is behind the pointer of a body that is more than a buffer.
trait Stream: Source {
    fn keep(self: Pin<&mut Self>, guard: Guard);
}

/// A body that a [`MeshBody`] is made of.
pub(crate) trait Source: Body<Data = Bytes, Error = BoxError> + Send {
    fn kind(&self) -> &'static str {
        "Boxed"
    }

    /// The whole of it, if it is there already.
    fn buffer(&self) -> Option<Bytes> {
        None
    }
}

pin_project! {
    /// A body and what it keeps until its end.
    struct Guarded<B> {
        #[pin]
        inner: B,
        guard: Option<Guard>,
    }
}

/// The frames of an answer, and the connection that they come from: free again when the stream has
/// ended.
struct Answer {
    frames: Incoming,
    connection: Option<Held>,
}

/// One buffer that keeps a guard.
struct Buffer(Bytes);

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
        Self {
            inner: Inner::Full(data.into()),
        }
    }

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
    pub(crate) fn of(source: impl Source + 'static) -> Self {
        Self {
            inner: Inner::Stream(Box::pin(Guarded {
                inner: source,
                guard: None,
            })),
        }
    }

    pub(crate) fn incoming(frames: Incoming) -> Self {
        if frames.is_end_stream() {
            return Self::empty();
        }
        Self::of(Answer {
            frames,
            connection: None,
        })
    }

    /// The body of an answer. It keeps the connection until the stream has ended.
    pub(crate) fn answer(frames: Incoming, connection: Held) -> Self {
        if frames.is_end_stream() {
            connection.reuse();
            return Self::empty();
        }
        Self::of(Answer {
            frames,
            connection: Some(connection),
        })
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
        if let Inner::Full(data) = &mut self.inner {
            self = Self::of(Buffer(std::mem::take(data)));
        }
        if let Inner::Stream(stream) = &mut self.inner {
            stream.as_mut().keep(Box::new(guard));
        }
        self
    }

    /// The whole body, if it is in one buffer already: what can be sent a second time for free.
    pub fn as_buffer(&self) -> Option<Bytes> {
        match &self.inner {
            Inner::Full(data) => Some(data.clone()),
            Inner::Stream(stream) => stream.buffer(),
        }
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
        match &mut self.get_mut().inner {
            Inner::Full(data) if data.is_empty() => Poll::Ready(None),
            Inner::Full(data) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(data))))),
            Inner::Stream(stream) => stream.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Full(data) => data.is_empty(),
            Inner::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Full(data) => SizeHint::with_exact(data.len() as u64),
            Inner::Stream(stream) => stream.size_hint(),
        }
    }
}

impl fmt::Debug for MeshBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.inner {
            Inner::Full(data) if data.is_empty() => "Empty",
            Inner::Full(_) => "Full",
            Inner::Stream(stream) => stream.kind(),
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

// === impl Inner ===

impl Default for Inner {
    fn default() -> Self {
        Self::Full(Bytes::new())
    }
}

// === impl Guarded ===

impl<B: Source> Stream for Guarded<B> {
    fn keep(self: Pin<&mut Self>, guard: Guard) {
        let slot = self.project().guard;
        *slot = Some(match slot.take() {
            None => guard,
            Some(earlier) => Box::new(Both {
                _earlier: earlier,
                _later: guard,
            }),
        });
    }
}

impl<B: Source> Source for Guarded<B> {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn buffer(&self) -> Option<Bytes> {
        self.inner.buffer()
    }
}

impl<B: Source> Body for Guarded<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        let frame = ready!(this.inner.as_mut().poll_frame(cx));
        if this.guard.is_some() && (!matches!(frame, Some(Ok(_))) || this.inner.is_end_stream()) {
            *this.guard = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

// === impl Answer ===

impl Source for Answer {
    fn kind(&self) -> &'static str {
        "Incoming"
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
        Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.frames.size_hint()
    }
}

// === impl Buffer ===

impl Source for Buffer {
    fn kind(&self) -> &'static str {
        if self.0.is_empty() { "Empty" } else { "Full" }
    }

    fn buffer(&self) -> Option<Bytes> {
        Some(self.0.clone())
    }
}

impl Body for Buffer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let data = std::mem::take(&mut self.0);
        Poll::Ready((!data.is_empty()).then(|| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

// === impl BoxedError ===

impl<B> Source for BoxedError<B>
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
}

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
