//! Chain stop: an application that fails because a call of its own failed should not be called again
//! above, when that call was tried again here already.
//!
//! A server that links the library says so by itself, since its calls are made within the request
//! that they are made for. A shim sees the two as separate requests of a process that it knows nothing
//! of. So it tells the application with the failed answer, `x-mesh-retried` or for gRPC a pushback of
//! -1, and the shim in front of the application passes on what the application copies to its own
//! answer. The other way it is the same: a call that carries `x-mesh-attempt` (or
//! `grpc-previous-rpc-attempts`) as it was received is not retried here.

use http::{HeaderMap, HeaderValue, Response};
use http_body_util::BodyExt as _;
use mesh_core::error::{ErrorKind, MeshError};
use mesh_core::metadata;
use mesh_tower::body::MeshBody;
use mesh_tower::retry::{RetriedBelow, push_back};

/// Marks a failed answer that was tried again here.
pub(super) fn mark(response: Response<MeshBody>, is_grpc: bool) -> Response<MeshBody> {
    if response.extensions().get::<RetriedBelow>().is_none() {
        return response;
    }
    let (mut head, body) = response.into_parts();
    if !is_grpc {
        let value = HeaderValue::from_static("1");
        head.headers.insert(metadata::RETRIED, value);
        return Response::from_parts(head, body);
    }
    push_back(&mut head.headers);
    let body = body.map_frame(|frame| match frame.into_trailers() {
        Ok(mut trailers) => {
            push_back(&mut trailers);
            hyper::body::Frame::trailers(trailers)
        }
        Err(frame) => frame,
    });
    Response::from_parts(head, MeshBody::new(body))
}

/// Marks the answer to an error of the mesh.
pub(super) fn mark_error(error: &MeshError, headers: &mut HeaderMap) {
    let retried = error.attempts().len() > 1 || error.kind() == ErrorKind::BudgetEmpty;
    if retried || error.flags().non_retryable {
        headers.insert(metadata::RETRIED, HeaderValue::from_static("1"));
    }
}
