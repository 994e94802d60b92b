//! A request body that can be sent again, up to a limit.
//!
//! ```text
//! first attempt:  original body --frame--> attempt, and a reference kept while <= 64 KiB
//! next attempt:   kept frames, then what is left of the original body
//! ```
//!
//! Only one attempt reads at a time: a body of an earlier attempt that is still held somewhere ends
//! with an error when it is polled again.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::BoxError;
use crate::body::MeshBody;

/// How much of a request body is kept for another attempt, in bytes (Linkerd's number).
pub(crate) const KEPT: usize = 64 * 1024;

/// What of a request's body is needed for another attempt.
pub(crate) enum Replay {
    /// There is no body.
    Empty,
    /// It is in one buffer already.
    Buffer(Bytes),
    /// There is one, and it is kept while it passes.
    Kept(Arc<Mutex<Kept>>),
    /// It says itself that it is too large.
    TooLarge,
}

pub(crate) struct Kept {
    original: MeshBody,
    chunks: Vec<Bytes>,
    len: usize,
    limit: usize,
    trailers: Option<HeaderMap>,
    over: bool,
    ended: bool,
    failed: bool,
    /// Which attempt may read.
    reader: u32,
}

/// The body of one attempt.
struct Attempt {
    kept: Arc<Mutex<Kept>>,
    reader: u32,
    pending: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    /// Size and end as known when the attempt began, for callers that ask before polling.
    hint: SizeHint,
}

// === impl Replay ===

impl Replay {
    /// Prepares a body, which becomes that of the first attempt.
    pub(crate) fn new(body: &mut MeshBody, limit: usize) -> Self {
        if body.is_end_stream() {
            return Self::Empty;
        }
        if body.size_hint().lower() > limit as u64 {
            return Self::TooLarge;
        }
        if let Some(buffer) = body.as_buffer() {
            return Self::Buffer(buffer);
        }
        let hint = body.size_hint();
        let call = body.take_call();
        let kept = Arc::new(Mutex::new(Kept {
            original: std::mem::take(body),
            chunks: Vec::new(),
            len: 0,
            limit,
            trailers: None,
            over: false,
            ended: false,
            failed: false,
            reader: 0,
        }));
        *body = MeshBody::new(Attempt {
            kept: kept.clone(),
            reader: 0,
            pending: VecDeque::new(),
            trailers: None,
            hint,
        });
        if let Some(call) = call {
            body.carry(call);
        }
        Self::Kept(kept)
    }

    /// The body of the next attempt; `None` when it was too large or failed.
    pub(crate) fn again(&self) -> Option<MeshBody> {
        let kept = match self {
            Self::Empty => return Some(MeshBody::empty()),
            Self::Buffer(buffer) => return Some(MeshBody::full(buffer.clone())),
            Self::TooLarge => return None,
            Self::Kept(kept) => kept,
        };
        let mut state = lock(kept);
        if state.over || state.failed {
            return None;
        }
        state.reader += 1;
        let mut hint = if state.ended {
            SizeHint::with_exact(0)
        } else {
            state.original.size_hint()
        };
        let len = state.len as u64;
        match hint.upper() {
            Some(upper) if upper == hint.lower() => hint = SizeHint::with_exact(upper + len),
            upper => {
                if let Some(upper) = upper {
                    hint.set_upper(upper + len);
                }
                hint.set_lower(hint.lower() + len);
            }
        }
        let attempt = Attempt {
            kept: kept.clone(),
            reader: state.reader,
            pending: state.chunks.iter().cloned().collect(),
            trailers: state.trailers.clone(),
            hint,
        };
        // A new body is asked at once whether it is at its end, which takes the lock again.
        drop(state);
        Some(MeshBody::new(attempt))
    }

    /// A body for an attempt beside one that is in flight: only of what is at hand whole, since two
    /// cannot read one stream.
    pub(super) fn copy(&self) -> Option<MeshBody> {
        if let Self::Kept(kept) = self {
            let state = lock(kept);
            if !state.ended || state.over || state.failed {
                return None;
            }
            let attempt = Attempt {
                kept: kept.clone(),
                reader: state.reader,
                pending: state.chunks.iter().cloned().collect(),
                trailers: state.trailers.clone(),
                hint: SizeHint::with_exact(state.len as u64),
            };
            drop(state);
            return Some(MeshBody::new(attempt));
        }
        self.again()
    }

    /// Whether the request was sent to its end, so that its server waits for nothing more.
    pub(super) fn is_sent(&self) -> bool {
        match self {
            Self::Empty | Self::Buffer(_) => true,
            Self::TooLarge => false,
            Self::Kept(kept) => lock(kept).ended,
        }
    }

    /// Whether the body has said itself that it cannot be kept.
    pub(super) fn is_known_too_large(&self) -> bool {
        matches!(self, Self::TooLarge)
    }

    /// Whether another attempt could have the body.
    pub(crate) fn can_again(&self) -> bool {
        match self {
            Self::Empty | Self::Buffer(_) => true,
            Self::TooLarge => false,
            Self::Kept(kept) => {
                let state = lock(kept);
                !state.over && !state.failed
            }
        }
    }

    /// Whether the body is the reason why there is no other attempt.
    pub(crate) fn is_too_large(&self) -> bool {
        match self {
            Self::Empty | Self::Buffer(_) => false,
            Self::TooLarge => true,
            Self::Kept(kept) => lock(kept).over,
        }
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Kept ===

impl Kept {
    fn poll_original(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = match ready!(Pin::new(&mut self.original).poll_frame(cx)) {
            None => {
                self.ended = true;
                return Poll::Ready(None);
            }
            Some(Err(error)) => {
                self.failed = true;
                self.ended = true;
                return Poll::Ready(Some(Err(error)));
            }
            Some(Ok(frame)) => frame,
        };
        if let Some(data) = frame.data_ref() {
            self.len = self.len.saturating_add(data.len());
            if self.len > self.limit {
                self.over = true;
                self.chunks = Vec::new();
            } else if !self.over {
                self.chunks.push(data.clone());
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            self.trailers = Some(trailers.clone());
            self.ended = true;
        }
        // Who knows the length does not ask for the end that follows it.
        self.ended |= self.original.is_end_stream();
        Poll::Ready(Some(Ok(frame)))
    }
}

// === impl Attempt ===

impl Body for Attempt {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(chunk) = self.pending.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        let this = &mut *self;
        let mut state = lock(&this.kept);
        if state.reader != this.reader {
            return Poll::Ready(Some(Err(
                "the request body has moved on to another attempt".into(),
            )));
        }
        state.poll_original(cx)
    }

    fn is_end_stream(&self) -> bool {
        if !self.pending.is_empty() || self.trailers.is_some() {
            return false;
        }
        let state = lock(&self.kept);
        state.ended || state.original.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, StreamBody};

    fn chunks(sizes: &[usize]) -> MeshBody {
        let frames: Vec<Result<_, std::convert::Infallible>> = sizes
            .iter()
            .map(|size| Ok(Frame::data(Bytes::from(vec![b'x'; *size]))))
            .collect();
        MeshBody::new(StreamBody::new(futures_util::stream::iter(frames)))
    }

    async fn read(body: MeshBody) -> usize {
        body.collect().await.unwrap().to_bytes().len()
    }

    #[tokio::test]
    async fn a_body_that_fits_is_sent_again_whole() {
        let mut first = chunks(&[30_000, 30_000]);
        let replay = Replay::new(&mut first, KEPT);
        assert_eq!(read(first).await, 60_000);
        assert_eq!(read(replay.again().unwrap()).await, 60_000);
        assert_eq!(read(replay.again().unwrap()).await, 60_000);
        assert!(!replay.is_too_large());
    }

    #[tokio::test]
    async fn a_body_whose_length_was_read_is_whole_without_being_asked_for_more() {
        let known = http_body_util::Full::new(Bytes::from_static(b"five!"));
        let mut first = MeshBody::new(known.map_err(BoxError::from).boxed());
        let replay = Replay::new(&mut first, KEPT);
        assert!(matches!(replay, Replay::Kept(_)) && replay.copy().is_none());
        first.frame().await.unwrap().unwrap();
        assert!(replay.is_sent());
        assert_eq!(read(replay.copy().unwrap()).await, 5);
    }

    #[tokio::test]
    async fn an_attempt_that_stopped_half_way_does_not_lose_the_rest() {
        let mut first = chunks(&[10, 20, 30]);
        let replay = Replay::new(&mut first, KEPT);
        first.frame().await.unwrap().unwrap();
        let second = replay.again().unwrap();
        assert!(
            first.frame().await.unwrap().is_err(),
            "the first attempt must not steal frames"
        );
        assert_eq!(read(second).await, 60);
    }

    #[tokio::test]
    async fn a_body_that_no_attempt_has_read_is_sent_whole() {
        // As after a refused connection, before the first byte.
        let mut first = chunks(&[10, 20]);
        let replay = Replay::new(&mut first, KEPT);
        let second = replay.again().unwrap();
        drop(first);
        assert_eq!(read(second).await, 30);
    }

    #[tokio::test]
    async fn a_body_over_the_limit_passes_but_is_not_kept() {
        let mut first = chunks(&[KEPT, 1]);
        let replay = Replay::new(&mut first, KEPT);
        assert_eq!(read(first).await, KEPT + 1);
        assert!(replay.again().is_none());
        assert!(replay.is_too_large());
    }

    #[tokio::test]
    async fn a_body_that_says_it_is_too_large_is_not_wrapped() {
        let mut first = MeshBody::full(vec![0; KEPT + 1]);
        let replay = Replay::new(&mut first, KEPT);
        assert!(matches!(replay, Replay::TooLarge));
        assert_eq!(read(first).await, KEPT + 1);
    }

    #[test]
    fn no_body_costs_nothing() {
        assert!(matches!(
            Replay::new(&mut MeshBody::empty(), KEPT),
            Replay::Empty
        ));
    }
}
