use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::TRAILER;
use http::{HeaderMap, HeaderName};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use mesh_core::context::BodyClock;
use pin_project_lite::pin_project;

use crate::BoxError;
use crate::context::CallContext;
use crate::endpoint::Watch;
use crate::headers::hop;
use crate::runtime;
use crate::transport::{ConnInfo, Held};
use crate::upgrade::Lasting;

/// The body of every request and response inside the mesh. See the [module](crate::body).
///
/// The body of a request also carries the context of its call through the assembled stack: see
/// [`CallContext`].
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
    Rest(Rest),
}

/// A body that is more than a buffer, or one that carries a call.
struct Rest {
    call: Option<CallContext>,
    /// `None`: the body is the buffer that the call keeps.
    stream: Option<Pin<Box<dyn Stream>>>,
}

/// What is behind the pointer of a body that is more than a buffer.
trait Stream: Source {
    fn keep(self: Pin<&mut Self>, guard: Guard);

    fn limit(self: Pin<&mut Self>, trailers: Trailers);

    /// Where who watches the body has its place.
    fn watch(self: Pin<&mut Self>) -> &mut Option<Watch>;

    fn is_watched(&self) -> bool;

    /// Where the clock of a request's body has its place.
    fn clock(self: Pin<&mut Self>) -> &mut Option<BodyClock>;
}

/// A body that a [`MeshBody`] is made of.
trait Source: Body<Data = Bytes, Error = BoxError> + Send {
    fn kind(&self) -> &'static str {
        "Boxed"
    }

    /// The whole of it, if it is there already.
    fn buffer(&self) -> Option<Bytes> {
        None
    }

    /// The connection that it comes from.
    fn conn_info(&self) -> Option<&ConnInfo> {
        None
    }
}

/// Which trailers go on.
#[derive(Default)]
pub(crate) enum Trailers {
    #[default]
    All,
    /// For HTTP/1.1, where those that the head has not named are dropped. hyper does that too, and then
    /// never ends the message if none is left.
    Named(Box<[HeaderName]>),
}

pin_project! {
    /// A body, what it keeps until its end, and who watches it: in one allocation.
    struct Guarded<B> {
        // `None`: given up.
        #[pin]
        inner: Option<B>,
        trailers: Trailers,
        watch: Option<Watch>,
        clock: Option<BodyClock>,
        guard: Option<Guard>,
    }
}

/// The frames of an answer, and the connection that they come from: free again when the stream has
/// ended.
struct Answer {
    frames: Incoming,
    info: Arc<ConnInfo>,
    connection: Option<Held>,
}

/// The frames of a message that is not ours.
struct Frames {
    frames: Incoming,
    reading: Option<Reading>,
}

/// Says for as long as it exists that the frames of a request are still to be read.
pub(crate) struct Reading(Arc<AtomicBool>);

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
    fn of(source: impl Source + 'static) -> Self {
        Self {
            inner: Inner::Rest(Rest {
                call: None,
                stream: Some(stream(source)),
            }),
        }
    }

    /// The call that this request's body carries.
    pub(crate) fn call(&self) -> Option<&CallContext> {
        match &self.inner {
            Inner::Full(_) => None,
            Inner::Rest(rest) => rest.call.as_ref(),
        }
    }

    /// Lets the body carry a call, which takes its place beside the request: no layer need look it
    /// up by type. A body of one buffer becomes that of the call.
    pub(crate) fn carry(&mut self, call: CallContext) {
        let stream = match std::mem::take(&mut self.inner) {
            Inner::Full(data) if is_same(&data, call.buffer()) => None,
            Inner::Full(data) => Some(stream(Buffer(data))),
            Inner::Rest(rest) => match rest.call {
                Some(earlier) if rest.stream.is_none() => {
                    Some(stream(Buffer(earlier.buffer().clone())))
                }
                _ => rest.stream,
            },
        };
        self.inner = Inner::Rest(Rest {
            call: Some(call),
            stream,
        });
    }

    /// The same for a call that [has taken](Self::take_buffer) what was in one buffer.
    pub(crate) fn carry_own(&mut self, call: CallContext) {
        let stream = match std::mem::take(&mut self.inner) {
            Inner::Full(_) => None,
            Inner::Rest(rest) => rest.stream,
        };
        self.inner = Inner::Rest(Rest {
            call: Some(call),
            stream,
        });
    }

    /// Takes the call out again, and leaves the body alone.
    pub(crate) fn take_call(&mut self) -> Option<CallContext> {
        let Inner::Rest(rest) = &mut self.inner else {
            return None;
        };
        let call = rest.call.take()?;
        if rest.stream.is_none() {
            self.inner = Inner::Full(call.buffer().clone());
        }
        Some(call)
    }

    /// The whole of it, for a call to keep; a stream stays where it is.
    pub(crate) fn take_buffer(&mut self) -> Bytes {
        match &mut self.inner {
            Inner::Full(data) => std::mem::take(data),
            Inner::Rest(_) => Bytes::new(),
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

fn stream(source: impl Source + 'static) -> Pin<Box<dyn Stream>> {
    Box::pin(Guarded {
        inner: Some(source),
        trailers: Trailers::All,
        watch: None,
        clock: None,
        guard: None,
    })
}

/// Whether both are the same bytes, not only equal ones.
fn is_same(a: &Bytes, b: &Bytes) -> bool {
    a.len() == b.len() && (a.is_empty() || a.as_ptr() == b.as_ptr())
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

// === impl Trailers ===

impl Trailers {
    fn named(head: &HeaderMap, welcome: bool) -> Self {
        if !welcome || !head.contains_key(TRAILER) {
            return Self::Named(Box::default());
        }
        let names = hop::listed(head, &TRAILER).filter_map(|name| name.parse().ok());
        Self::Named(names.filter(hop::may_trail).collect())
    }

    fn of(&self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        let Self::Named(names) = self else {
            return Some(frame);
        };
        let mut trailers = frame.into_trailers().ok()?;
        while let Some(name) = trailers.keys().find(|name| !names.contains(name)).cloned() {
            trailers.remove(name);
        }
        (!trailers.is_empty()).then(|| Frame::trailers(trailers))
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

    fn limit(self: Pin<&mut Self>, trailers: Trailers) {
        *self.project().trailers = trailers;
    }

    fn watch(self: Pin<&mut Self>) -> &mut Option<Watch> {
        self.project().watch
    }

    fn is_watched(&self) -> bool {
        self.watch.is_some()
    }

    fn clock(self: Pin<&mut Self>) -> &mut Option<BodyClock> {
        self.project().clock
    }
}

impl<B: Source> Source for Guarded<B> {
    fn kind(&self) -> &'static str {
        self.inner.as_ref().map_or("Empty", Source::kind)
    }

    fn buffer(&self) -> Option<Bytes> {
        self.inner.as_ref()?.buffer()
    }

    fn conn_info(&self) -> Option<&ConnInfo> {
        self.inner.as_ref()?.conn_info()
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
        let Some(mut inner) = this.inner.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let Poll::Ready(frame) = inner.as_mut().poll_frame(cx) else {
            let Some(watch) = this.watch else {
                return Poll::Pending;
            };
            let error = ready!(watch.wait(cx));
            *this.watch = None;
            // The peer need not send what nobody reads.
            this.inner.set(None);
            *this.guard = None;
            return Poll::Ready(Some(Err(error.into())));
        };
        let frame = match frame {
            Some(Ok(frame)) if frame.is_trailers() => this.trailers.of(frame).map(Ok),
            frame => frame,
        };
        if let Some(clock) = this.clock {
            clock.piece(runtime::now());
        }
        let last = !matches!(frame, Some(Ok(_))) || inner.is_end_stream();
        if let Some(watch) = this.watch
            && watch.saw(&frame, last)
        {
            *this.watch = None;
        }
        if last {
            *this.guard = None;
            if this.watch.is_none() {
                // Who reads to the end asks once more.
                this.inner.set(None);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Some(inner) => inner.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

/// A frame from the wire: trailers without what is none of theirs.
fn clean(
    frame: Option<Result<Frame<Bytes>, hyper::Error>>,
) -> Option<Result<Frame<Bytes>, BoxError>> {
    let mut frame = frame?.map_err(BoxError::from);
    if let Ok(frame) = &mut frame
        && let Some(trailers) = frame.trailers_mut()
    {
        hop::strip_trailers(trailers);
    }
    Some(frame)
}

// === impl Reading ===

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.store(false, Relaxed);
    }
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

    fn is_end_stream(&self) -> bool {
        self.frames.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.frames.size_hint()
    }
}

// === impl MeshBody ===

/// A watched body inside another.
impl Source for MeshBody {
    fn buffer(&self) -> Option<Bytes> {
        self.as_buffer()
    }

    fn conn_info(&self) -> Option<&ConnInfo> {
        MeshBody::conn_info(self)
    }
}

// === impl Lasting ===

impl Source for Lasting {
    fn kind(&self) -> &'static str {
        "Tunnel"
    }

    fn conn_info(&self) -> Option<&ConnInfo> {
        self.info.as_deref()
    }
}

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
