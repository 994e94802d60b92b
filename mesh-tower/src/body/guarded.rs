//! What is behind the pointer of a body that is more than a buffer: the body it is made of, what it keeps
//! until its end, and who watches it.

use std::any::Any;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use mesh_core::context::BodyClock;
use pin_project_lite::pin_project;

use super::source::Source;
use super::trailers::Trailers;
use crate::BoxError;
use crate::endpoint::Watch;
use crate::runtime;
use crate::transport::ConnInfo;

type Guard = Box<dyn Any + Send>;

/// What is behind the pointer of a body that is more than a buffer.
pub(super) trait Stream: Source {
    fn keep(self: Pin<&mut Self>, guard: Guard);

    fn limit(self: Pin<&mut Self>, trailers: Trailers);

    /// Where who watches the body has its place.
    fn watch(self: Pin<&mut Self>) -> &mut Option<Watch>;

    fn is_watched(&self) -> bool;

    /// Where the clock of a request's body has its place.
    fn clock(self: Pin<&mut Self>) -> &mut Option<BodyClock>;
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

/// Two guards in one box. The earlier one is nearer to the wire and goes first.
struct Both<G> {
    _earlier: Guard,
    _later: G,
}

pub(super) fn stream(source: impl Source + 'static) -> Pin<Box<dyn Stream>> {
    Box::pin(Guarded {
        inner: Some(source),
        trailers: Trailers::All,
        watch: None,
        clock: None,
        guard: None,
    })
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
