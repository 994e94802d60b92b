use bytes::Bytes;
use http::header::TRAILER;
use http::{HeaderMap, HeaderName};
use http_body::Frame;

use crate::BoxError;
use crate::headers::hop;

/// Which trailers go on.
#[derive(Default)]
pub(super) enum Trailers {
    #[default]
    All,
    /// For HTTP/1.1, where those that the head has not named are dropped. hyper does that too, and then
    /// never ends the message if none is left.
    Named(Box<[HeaderName]>),
}

// === impl Trailers ===

impl Trailers {
    pub(super) fn named(head: &HeaderMap, welcome: bool) -> Self {
        if !welcome || !head.contains_key(TRAILER) {
            return Self::Named(Box::default());
        }
        let names = hop::listed(head, &TRAILER).filter_map(|name| name.parse().ok());
        Self::Named(names.filter(hop::may_trail).collect())
    }

    pub(super) fn of(&self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
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

/// A frame from the wire: trailers without what is none of theirs.
pub(super) fn clean(
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
