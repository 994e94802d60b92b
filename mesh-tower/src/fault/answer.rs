//! Answers that a route gives itself.

use http::{HeaderValue, Method, Response, StatusCode, header};
use mesh_core::error::Code;
use mesh_core::metadata;
use mesh_core::policy::model::{AbortStatus, DirectResponse, Fault};

use crate::body::MeshBody;
use crate::rescue::percent_encoded;

/// The answer to a call that a fault aborts, in the protocol of the call.
pub(crate) fn answer(fault: &Fault, status: AbortStatus, grpc: bool) -> Response<MeshBody> {
    let text = format!(
        "fault {} was injected [{}]",
        fault.name(),
        Code::FAULT_INJECTED
    );
    let mut response = match grpc {
        true => trailers_only(grpc_code(status), &text),
        false => plain(http_status(status), text),
    };
    response
        .headers_mut()
        .insert(metadata::REASON, reason(Code::FAULT_INJECTED));
    response
}

/// The answer of a rule that sends nothing anywhere.
pub(crate) fn direct(direct: &DirectResponse, method: &Method, grpc: bool) -> Response<MeshBody> {
    let failed = direct.status().is_client_error() || direct.status().is_server_error();
    let mut response = if grpc {
        let code = grpc_code(AbortStatus::Http(direct.status()));
        trailers_only(code, direct.body())
    } else {
        // The body lives in the policy: it is copied, for the answer may outlive that.
        let body = match *method == Method::HEAD {
            true => MeshBody::empty(),
            false => MeshBody::full(direct.body().as_bytes().to_vec()),
        };
        let mut response = Response::new(body);
        *response.status_mut() = direct.status();
        let kind = match direct.content_type() {
            Some(kind) => Some(kind.clone()),
            None if direct.body().is_empty() => None,
            None => Some(HeaderValue::from_static("text/plain; charset=utf-8")),
        };
        if let Some(kind) = kind {
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        response
    };
    if failed {
        response
            .headers_mut()
            .insert(metadata::REASON, reason(Code::DIRECT_RESPONSE));
    }
    response
}

fn plain(status: StatusCode, text: String) -> Response<MeshBody> {
    let mut response = Response::new(MeshBody::full(text));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn trailers_only(code: u16, text: &str) -> Response<MeshBody> {
    let mut response = Response::new(MeshBody::empty());
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    headers.insert(metadata::GRPC_STATUS, HeaderValue::from(code));
    headers.insert(metadata::GRPC_MESSAGE, percent_encoded(text));
    response
}

fn reason(code: Code) -> HeaderValue {
    HeaderValue::from_str(&code.to_string()).unwrap_or_else(|_| HeaderValue::from_static("mesh"))
}

/// gRPC's own mapping ("HTTP to gRPC Status Code Mapping"); what is no error is OK.
fn grpc_code(status: AbortStatus) -> u16 {
    match status {
        AbortStatus::Grpc(code) => code,
        AbortStatus::Http(status) => match status.as_u16() {
            200..=299 => 0,
            400 => 13,
            401 => 16,
            403 => 7,
            404 => 12,
            429 | 502..=504 => 14,
            _ => 2,
        },
    }
}

/// For a gRPC code on a call that is not gRPC: the status that says the same (google.rpc.Code).
fn http_status(status: AbortStatus) -> StatusCode {
    match status {
        AbortStatus::Http(status) => status,
        AbortStatus::Grpc(code) => match code {
            3 | 9 | 11 => StatusCode::BAD_REQUEST,
            4 => StatusCode::GATEWAY_TIMEOUT,
            5 => StatusCode::NOT_FOUND,
            6 | 10 => StatusCode::CONFLICT,
            7 => StatusCode::FORBIDDEN,
            8 => StatusCode::TOO_MANY_REQUESTS,
            12 => StatusCode::NOT_IMPLEMENTED,
            14 => StatusCode::SERVICE_UNAVAILABLE,
            16 => StatusCode::UNAUTHORIZED,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        },
    }
}
