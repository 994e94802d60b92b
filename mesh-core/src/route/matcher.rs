use http::{HeaderMap, Method, Uri};

use super::query;
use crate::classify::grpc::is_grpc;
use crate::policy::model::{HeaderMatch, RouteMatch};

/// Whether one condition accepts a request: the whole of it, without an index.
pub fn accepts(condition: &RouteMatch, method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
    condition
        .path()
        .is_none_or(|path| path.is_match(uri.path()))
        && accepts_rest(condition, method, uri, headers)
}

/// Everything but the path.
pub(super) fn accepts_rest(
    condition: &RouteMatch,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> bool {
    condition.method().is_none_or(|m| m == method)
        && (!condition.is_grpc() || is_grpc(headers))
        && condition
            .headers()
            .iter()
            .all(|h| accepts_header(h, headers))
        && condition
            .query()
            .iter()
            .all(|q| query::accepts(uri.query(), q))
}

/// Of a header that is given more than once, any value will do.
fn accepts_header(condition: &HeaderMatch, headers: &HeaderMap) -> bool {
    headers.get_all(condition.name()).iter().any(|value| {
        value
            .to_str()
            .is_ok_and(|text| condition.value().is_match(text))
    })
}

/// The host of a request without its port: from the URI, else from `Host`.
pub(super) fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> &'a str {
    let text = uri.host().unwrap_or_else(|| {
        let value = headers.get(http::header::HOST);
        value.and_then(|v| v.to_str().ok()).unwrap_or("")
    });
    // An IPv6 host stands in brackets, so a colon behind the last one begins the port.
    match text.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => text,
    }
}
