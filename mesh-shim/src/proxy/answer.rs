//! What the application is told when the mesh could not serve its request.

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use mesh_core::error::MeshError;
use mesh_core::metadata;
use mesh_tower::body::MeshBody;

use super::tunnel::NoTunnel;

/// The status of the error's kind, `mesh-reason` with its code, and its one line as the body.
pub(crate) fn of_mesh_error(error: &MeshError) -> Response<MeshBody> {
    let reason = HeaderValue::from_str(&error.code().to_string()).ok();
    text(error.http_status(), reason, format!("{error}\n"))
}

/// A request that no proxy may pass on.
pub(crate) fn bad_request(why: &str) -> Response<MeshBody> {
    text(
        StatusCode::BAD_REQUEST,
        None,
        format!("bad request: {why}\n"),
    )
}

/// A tunnel that could not be opened.
pub(crate) fn no_tunnel(error: &NoTunnel) -> Response<MeshBody> {
    let error = match error {
        NoTunnel::Mesh(error) => return of_mesh_error(error),
        NoTunnel::Io(error) => error,
    };
    let (status, code) = match error.kind() {
        std::io::ErrorKind::InvalidInput => (StatusCode::BAD_REQUEST, None),
        _ => (
            StatusCode::BAD_GATEWAY,
            Some(HeaderValue::from_static("M2010")),
        ),
    };
    text(status, code, format!("CONNECT: {error}\n"))
}

fn text(status: StatusCode, reason: Option<HeaderValue>, text: String) -> Response<MeshBody> {
    let mut response = Response::new(MeshBody::full(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    if let Some(reason) = reason {
        headers.insert(metadata::REASON, reason);
    }
    response
}
