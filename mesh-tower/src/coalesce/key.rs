use http::{HeaderName, Method, header, request::Parts};
use mesh_core::context::Criticality;

/// What an answer usually depends on besides its target. Credentials among them: nobody is given
/// what another was allowed to see.
pub(super) const COMPARED: [HeaderName; 11] = [
    header::HOST,
    header::AUTHORIZATION,
    header::COOKIE,
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::RANGE,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_RANGE,
    header::ORIGIN,
];

/// Longest key; a request with more than that goes by itself.
const LONGEST: usize = 16 * 1024;

/// The key of a request that may be shared.
pub(super) fn of(head: &Parts, level: Criticality) -> Option<Vec<u8>> {
    if head.method != Method::GET && head.method != Method::HEAD {
        return None;
    }
    // A tunnel is nobody else's.
    if head.headers.contains_key(header::UPGRADE) {
        return None;
    }
    let mut key = Vec::with_capacity(256);
    key.push(level as u8);
    part(&mut key, head.method.as_str().as_bytes());
    part(&mut key, head.uri.to_string().as_bytes());
    for name in &COMPARED {
        for value in head.headers.get_all(name) {
            part(&mut key, value.as_bytes());
        }
        // Between the headers, so that a value of one is never that of another.
        key.extend_from_slice(&u32::MAX.to_be_bytes());
    }
    (key.len() <= LONGEST).then_some(key)
}

fn part(key: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX - 1);
    key.extend_from_slice(&length.to_be_bytes());
    key.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn key(request: http::request::Builder) -> Option<Vec<u8>> {
        let (head, ()) = request.body(()).unwrap().into_parts();
        of(&head, Criticality::Critical)
    }

    #[test]
    fn only_safe_requests_have_one_and_different_ones_a_different_one() {
        let get = || Request::get("http://reviews.shop/1");
        assert!(key(Request::post("/")).is_none());
        assert!(key(get().header("upgrade", "websocket")).is_none());
        assert_eq!(key(get()), key(get()));
        assert_eq!(key(get()), key(get().header("x-request-id", "7")));
        let all = [
            key(get()),
            key(Request::head("http://reviews.shop/1")),
            key(Request::get("http://reviews.shop/2")),
            key(get().header("authorization", "a")),
            key(get().header("cookie", "a")),
            key(get().header("accept", "a").header("accept", "b")),
            key(get().header("accept", "ab")),
        ];
        for (n, one) in all.iter().enumerate() {
            assert!(!all[n + 1..].contains(one), "{n}");
        }
        assert!(key(get().header("cookie", "x".repeat(20_000))).is_none());
    }
}
