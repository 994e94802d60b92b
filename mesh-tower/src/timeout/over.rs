use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

use crate::runtime;

/// Ready when the time is over: when the timer has fired and nothing is `left` as of then, since the pieces of
/// a request's body may have moved the end meanwhile.
pub(crate) fn poll_over(
    mut sleep: Pin<&mut Sleep>,
    cx: &mut Context<'_>,
    mut left: impl FnMut(Instant) -> Duration,
) -> Poll<()> {
    loop {
        ready!(sleep.as_mut().poll(cx));
        let left = left(runtime::now());
        if left.is_zero() {
            return Poll::Ready(());
        }
        sleep.as_mut().reset(tokio::time::Instant::now() + left);
    }
}
