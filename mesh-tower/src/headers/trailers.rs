use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame};
use mesh_core::metadata;
use mesh_core::policy::model::HeaderEdit;

use crate::BoxError;
use crate::body::{MeshBody, forward_size};

/// A body whose trailers are edited on their way.
struct Edited {
    inner: MeshBody,
    edit: Arc<HeaderEdit>,
}

/// Edits the trailers of an answer: those that come behind its body, or those in the head of a gRPC
/// answer that has nothing else. An answer without trailers gets none.
pub(crate) fn edit_trailers(edit: Arc<HeaderEdit>, response: &mut Response<MeshBody>) {
    if response.body().is_end_stream() {
        if response.headers().contains_key(metadata::GRPC_STATUS) {
            edit.apply(response.headers_mut());
        }
        return;
    }
    let inner = std::mem::take(response.body_mut());
    *response.body_mut() = MeshBody::new(Edited { inner, edit });
}

impl Body for Edited {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(mut frame)) => {
                if let Some(trailers) = frame.trailers_mut() {
                    self.edit.apply(trailers);
                }
                Some(Ok(frame))
            }
            other => other,
        })
    }

    forward_size!(inner);
}
