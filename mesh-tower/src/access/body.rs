//! A streaming answer that stops when the right to it is taken away.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Uri};
use http_body::{Body, Frame, SizeHint};
use mesh_core::{
    error::{ErrorKind, MeshError},
    identity::{SpiffeId, access::Decision},
    metadata,
};
use pin_project_lite::pin_project;

use super::Rules;
use crate::{BoxError, body::MeshBody};

/// What must still be allowed for the answer to go on.
pub(super) struct Watch {
    pub(super) rules: Rules,
    pub(super) peer: Option<SpiffeId>,
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) grpc: bool,
}

pin_project! {
    /// Asks again before each frame; one atomic compare while the policy does not change.
    pub(super) struct Watched {
        #[pin]
        inner: MeshBody,
        watch: Box<Watch>,
        cut: bool,
    }
}

// === impl Watch ===

impl Watch {
    pub(super) fn wrap(self: Box<Self>, inner: MeshBody) -> MeshBody {
        MeshBody::new(Watched {
            inner,
            watch: self,
            cut: false,
        })
    }

    fn is_revoked(&mut self) -> bool {
        let decision =
            self.rules
                .decide(self.peer.as_ref(), &self.method, self.uri.path(), self.grpc);
        matches!(decision, Decision::Denied(_))
    }
}

// === impl Watched ===

impl Body for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        if *this.cut {
            return Poll::Ready(None);
        }
        if !this.watch.rules.is_unchanged() && this.watch.is_revoked() {
            *this.cut = true;
            this.inner.set(MeshBody::empty());
            tracing::info!(
                target: "mesh::access",
                path = this.watch.uri.path(),
                "a running answer was cut: access was revoked [M4001]"
            );
            if this.watch.grpc {
                let mut trailers = HeaderMap::with_capacity(2);
                trailers.insert(metadata::GRPC_STATUS, HeaderValue::from_static("7"));
                trailers.insert(
                    metadata::GRPC_MESSAGE,
                    HeaderValue::from_static("denied [M4001]"),
                );
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
            let error = MeshError::new(ErrorKind::Denied, "access was revoked");
            return Poll::Ready(Some(Err(error.into())));
        }
        this.inner.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.cut || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
