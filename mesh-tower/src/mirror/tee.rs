use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame};

use super::Duplicate;
use crate::BoxError;
use crate::body::{MeshBody, forward_size};

/// A request's body on its way to the callee, kept for the copies as far as they want it.
pub(super) struct Tee {
    inner: MeshBody,
    /// Empty once they are sent or given up.
    copies: Vec<Duplicate>,
    /// The frames so far: parts of buffers that the callee is sent too.
    kept: Vec<Bytes>,
    length: usize,
    trailers: Option<HeaderMap>,
}

// === impl Tee ===

impl Tee {
    pub(super) fn new(inner: MeshBody, copies: Vec<Duplicate>) -> Self {
        let mut tee = Self {
            inner,
            copies,
            kept: Vec::new(),
            length: 0,
            trailers: None,
        };
        let at_least = tee.inner.size_hint().lower();
        tee.give_up_beyond(usize::try_from(at_least).unwrap_or(usize::MAX));
        tee
    }

    fn give_up_beyond(&mut self, length: usize) {
        let (fit, long) = std::mem::take(&mut self.copies)
            .into_iter()
            .partition(|copy| length <= copy.max_body);
        self.copies = fit;
        let long: Vec<Duplicate> = long;
        long.into_iter().for_each(|copy| copy.give_up("too_large"));
        if self.copies.is_empty() {
            self.kept = Vec::new();
        }
    }

    fn saw(&mut self, frame: &Frame<Bytes>) {
        if self.copies.is_empty() {
            return;
        }
        if let Some(data) = frame.data_ref() {
            self.length = self.length.saturating_add(data.len());
            self.give_up_beyond(self.length);
            if !self.copies.is_empty() {
                self.kept.push(data.clone());
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            self.trailers = Some(trailers.clone());
        }
    }

    fn ended(&mut self) {
        let copies = std::mem::take(&mut self.copies);
        if copies.is_empty() {
            return;
        }
        let kept = std::mem::take(&mut self.kept);
        let body = match <[Bytes; 1]>::try_from(kept) {
            Ok([one]) => one,
            Err(many) => {
                let mut body = BytesMut::with_capacity(self.length);
                many.iter().for_each(|part| body.extend_from_slice(part));
                body.freeze()
            }
        };
        for copy in copies {
            copy.send(body.clone(), self.trailers.clone());
        }
    }
}

impl Body for Tee {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                this.saw(frame);
                // A reader that is told so does not ask again.
                if this.inner.is_end_stream() {
                    this.ended();
                }
            }
            None => this.ended(),
            Some(Err(_)) => {}
        }
        Poll::Ready(frame)
    }

    forward_size!(inner);
}

impl Drop for Tee {
    fn drop(&mut self) {
        for copy in std::mem::take(&mut self.copies) {
            copy.give_up("incomplete");
        }
    }
}
