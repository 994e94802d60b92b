use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use mesh_core::error::{ErrorKind, MeshError};
use pin_project_lite::pin_project;
use tokio::time::Sleep;

use super::poll_over;
use crate::BoxError;
use crate::context::{CallContext, Timed};
use crate::stack::into_mesh_error;

pin_project! {
    /// The future of [`TimeoutService`](super::TimeoutService).
    #[derive(Debug)]
    pub struct TimeoutFuture<F> {
        #[pin]
        inner: F,
        limit: Option<(Instant, Cause)>,
        // Made when the inner future is first pending: what is ready at once needs no timer.
        #[pin]
        sleep: Option<Sleep>,
        timed: Option<Timed>,
    }
}

/// Why there is a limit, for the error's text.
#[derive(Clone, Debug)]
pub(super) enum Cause {
    Fixed { limit: Duration },
    Call { call: CallContext },
    Attempt { limit: Duration, call: CallContext },
}

// === impl TimeoutFuture ===

impl<F> TimeoutFuture<F> {
    pub(super) fn new(inner: F, limit: Option<(Instant, Cause)>) -> Self {
        Self {
            inner,
            limit,
            sleep: None,
            timed: None,
        }
    }
}

impl<F, T, E> Future for TimeoutFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, MeshError>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Poll::Ready(done) = this.inner.poll(cx) {
            *this.timed = None;
            return Poll::Ready(done.map_err(into_mesh_error));
        }
        let Some((at, cause)) = this.limit else {
            return Poll::Pending;
        };
        if this.sleep.is_none() {
            // The body may have moved it while the timer of an attempt ran.
            *at = cause.at(*at);
            match cause {
                // An attempt's timer comes first, and brings the call back here.
                Cause::Call { call } if call.is_timed() => return Poll::Pending,
                Cause::Attempt { call, .. } => *this.timed = call.timed(*at),
                _ => {}
            }
            let sleep = tokio::time::sleep_until(tokio::time::Instant::from_std(*at));
            this.sleep.set(Some(sleep));
        }
        if let Some(sleep) = this.sleep.as_pin_mut() {
            ready!(poll_over(sleep, cx, |now| {
                *at = cause.at(*at);
                at.saturating_duration_since(now)
            }));
        }
        *this.timed = None;
        Poll::Ready(Err(cause.error()))
    }
}

// === impl Cause ===

impl Cause {
    /// When the time is over as of now: a request's body moves it.
    fn at(&self, at: Instant) -> Instant {
        match self {
            Self::Fixed { .. } => at,
            Self::Call { call } => call.deadline().unwrap_or(at),
            Self::Attempt { limit, call } => {
                let sent = call.started() + call.sent_for();
                let moved = sent.checked_add(*limit).unwrap_or(at);
                // Not past what holds whatever is sent: the call relies on this timer.
                let most = call.deadline().unwrap_or(moved);
                at.max(moved.min(most))
            }
        }
    }

    fn error(&self) -> MeshError {
        match self {
            Self::Fixed { limit } => {
                MeshError::new(ErrorKind::Deadline, format!("no response within {limit:?}"))
            }
            Self::Attempt { limit, .. } => {
                let message = format!("no response to this attempt within {limit:?}");
                MeshError::new(ErrorKind::AttemptTimeout, message)
            }
            Self::Call { call } => {
                let had = call
                    .deadline()
                    .map(|at| at.saturating_duration_since(call.started()))
                    .unwrap_or_default();
                let message = match call.attempt() {
                    0 | 1 => format!("no response within {had:.1?}"),
                    attempts => format!("no response within {had:.1?}, in attempt {attempts}"),
                };
                let who = if call.has_inherited_deadline() {
                    format!("deadline {had:.1?}, inherited or the route's, whichever is earlier")
                } else {
                    format!("deadline {had:.1?} set here")
                };
                let mut error =
                    MeshError::new(ErrorKind::Deadline, message).with_note("caller", who);
                if let Some(chosen) = call.chosen() {
                    error = error.with_service(chosen.service.name());
                }
                error
            }
        }
    }
}
