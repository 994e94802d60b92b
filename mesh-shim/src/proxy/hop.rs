//! Fields that belong to one connection and must not travel on (RFC 9110 7.6.1).
//!
//! They are taken out both ways. What `Connection` names goes too, except what decides where a
//! message ends or who is asked: naming `Host` or a header of the mesh in `Connection` is a known
//! way to make a proxy drop what the next hop relies on.

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const PROXY_STATUS_FIELDS: [HeaderName; 2] = [PROXY_AUTHENTICATE, PROXY_AUTHORIZATION];

/// Removes the hop-by-hop fields of a request or an answer. `te: trailers` stays: gRPC needs it,
/// and trailers are passed on here.
pub(crate) fn strip(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .filter(may_be_named)
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    headers.remove(KEEP_ALIVE);
    headers.remove(PROXY_CONNECTION);
    headers.remove(TRANSFER_ENCODING);
    headers.remove(UPGRADE);
    for name in PROXY_STATUS_FIELDS {
        headers.remove(name);
    }
    if headers.contains_key(TE) {
        let trailers = headers
            .get_all(TE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|coding| coding.trim().eq_ignore_ascii_case("trailers"));
        headers.remove(TE);
        if trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
    }
}

fn may_be_named(name: &HeaderName) -> bool {
    // TE is treated on its own below.
    *name != HOST
        && *name != CONTENT_LENGTH
        && *name != TE
        && !name.as_str().starts_with("mesh-")
        && !name.as_str().starts_with("x-mesh-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        map
    }

    #[test]
    fn fields_of_the_connection_are_removed() {
        let mut headers = map(&[
            ("connection", "keep-alive, X-Private"),
            ("connection", "close"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic x"),
            ("upgrade", "h2c"),
            ("transfer-encoding", "chunked"),
            ("te", "gzip"),
            ("accept", "*/*"),
        ]);
        strip(&mut headers);
        assert_eq!(headers, map(&[("accept", "*/*")]));
    }

    #[test]
    fn trailers_stay_welcome() {
        let mut headers = map(&[("te", "gzip, Trailers"), ("connection", "TE")]);
        strip(&mut headers);
        assert_eq!(headers, map(&[("te", "trailers")]));
    }

    #[test]
    fn connection_cannot_name_what_the_next_hop_relies_on() {
        let fields = [
            ("host", "a"),
            ("content-length", "3"),
            ("x-mesh-attempt", "1"),
            ("mesh-reason", "M2003"),
        ];
        let mut headers = map(&fields);
        headers.insert(
            CONNECTION,
            HeaderValue::from_static("host, content-length, x-mesh-attempt, mesh-reason"),
        );
        strip(&mut headers);
        assert_eq!(headers, map(&fields));
    }
}
