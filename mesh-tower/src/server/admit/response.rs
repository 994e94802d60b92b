use http::{HeaderValue, Response, StatusCode, Version, header};
use http_body::Body as _;

use crate::{body::MeshBody, headers::hop, server::ends::Phantom};

/// What of a request decides how it may be answered.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Asked {
    pub(in crate::server) version: Version,
    pub(in crate::server) head: bool,
    /// It asked for an upgrade.
    pub(in crate::server) upgradable: bool,
}

/// Puts an answer into a form that may be sent.
pub(in crate::server) fn response(response: &mut Response<MeshBody>, asked: Asked) {
    let Asked {
        version,
        head,
        upgradable,
    } = asked;
    let status = response.status();
    let switching = status == StatusCode::SWITCHING_PROTOCOLS;
    if status.as_u16() > 599 || (switching && !upgradable) {
        tracing::warn!(
            target: "mesh::server",
            status = status.as_u16(),
            "the service's answer has a status that cannot be sent"
        );
        *response = Response::new(MeshBody::empty());
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        return;
    }
    if version < Version::HTTP_2 {
        // What the application spoke is of its own connection. hyper makes it that of the request.
        *response.version_mut() = Version::HTTP_11;
    }
    let headers = response.headers_mut();
    if switching {
        hop::strip(headers, |headers| headers.get(header::UPGRADE).cloned());
        headers.remove(header::CONTENT_LENGTH);
        return;
    }
    let close = hop::strip(headers, |_| None) && version < Version::HTTP_2;
    let phantom = match version < Version::HTTP_2 {
        true => Phantom::of(status, headers),
        false => None,
    };
    if close {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(phantom) = phantom
        && response.body().is_end_stream()
    {
        *response.body_mut() = MeshBody::new(phantom);
    }
    let silent = head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if silent && version >= Version::HTTP_2 && !response.body().is_end_stream() {
        without_body(response, head);
    }
}

/// HTTP/1 keeps what must not follow a head to itself; in HTTP/2 hyper sends it, and the peer takes it
/// for a broken stream (RFC 9113 8.1.1).
fn without_body(response: &mut Response<MeshBody>, head: bool) {
    let body = std::mem::take(response.body_mut());
    if let Some(length) = body.size_hint().exact().filter(|_| head) {
        let headers = response.headers_mut().entry(header::CONTENT_LENGTH);
        headers.or_insert_with(|| HeaderValue::from(length));
    }
}
