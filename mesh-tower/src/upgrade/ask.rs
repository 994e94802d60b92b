//! What a request asks for, and whether an answer gives that.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue};

use crate::headers::find;
use crate::headers::hop::connection_lists;

/// Protocols that carry requests of their own: in a tunnel they would pass no policy.
const CARRY_REQUESTS: [&str; 5] = ["h2c", "h2", "h3", "http", "tls"];

/// Whether the fields ask for an upgrade.
pub(crate) fn is_asked(headers: &HeaderMap) -> bool {
    find(headers, &UPGRADE).is_some() && connection_lists(headers, "upgrade")
}

fn tokens(value: &HeaderValue) -> impl Iterator<Item = &str> {
    let text = value.to_str().unwrap_or("");
    text.split(',')
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

/// What of the protocols that a request asks for may be asked for; `None` if that is nothing. Where
/// the body of a request ends and the tunnel begins is not clear to everybody, so one with a body
/// does not become one.
pub(crate) fn allowed(headers: &HeaderMap) -> Option<HeaderValue> {
    if !is_asked(headers) || has_body(headers) {
        return None;
    }
    let mut asked = headers.get_all(UPGRADE).iter();
    let first = asked.next()?;
    if asked.next().is_none() && tokens(first).all(is_allowed) {
        return tokens(first).next().is_some().then(|| first.clone());
    }
    let kept: Vec<_> = headers
        .get_all(UPGRADE)
        .iter()
        .flat_map(tokens)
        .filter(|token| is_allowed(token))
        .collect();
    if kept.is_empty() {
        return None;
    }
    HeaderValue::from_str(&kept.join(", ")).ok()
}

/// A protocol is `name` or `name/version`.
fn is_allowed(protocol: &str) -> bool {
    let name = protocol.split('/').next().unwrap_or(protocol);
    !CARRY_REQUESTS
        .iter()
        .any(|bad| name.eq_ignore_ascii_case(bad))
}

fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING)
        || headers
            .get_all(CONTENT_LENGTH)
            .iter()
            .any(|length| length != "0")
}

/// Whether the answer switches to a protocol that was asked for (RFC 9110 7.8).
pub(crate) fn accepts(asked: &HeaderValue, answer: &HeaderMap) -> bool {
    let mut given = answer.get_all(UPGRADE).iter().flat_map(tokens).peekable();
    given.peek().is_some()
        && given.all(|given| tokens(asked).any(|asked| asked.eq_ignore_ascii_case(given)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(fields: &[(&'static str, &'static str)]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        allowed(&headers).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn what_carries_requests_is_not_asked_for() {
        let up = ("connection", "keep-alive, Upgrade");
        for (asked, left) in [
            ("websocket", Some("websocket")),
            ("WebSocket, chat/2", Some("WebSocket, chat/2")),
            ("h2c", None),
            ("HTTP/2.0", None),
            ("TLS/1.0, HTTP/1.1", None),
            ("h2c, websocket", Some("websocket")),
            ("", None),
            (" , ", None),
        ] {
            let asked = HeaderValue::from_static(asked);
            let mut headers = HeaderMap::new();
            headers.append("connection", HeaderValue::from_static(up.1));
            headers.append("upgrade", asked.clone());
            let kept = allowed(&headers);
            assert_eq!(
                kept.as_ref().map(|v| v.to_str().unwrap()),
                left,
                "{asked:?}"
            );
        }
        let two = [up, ("upgrade", "h2c"), ("upgrade", "chat")];
        assert_eq!(asks(&two).as_deref(), Some("chat"));
        assert_eq!(asks(&[("upgrade", "websocket")]), None);
        assert_eq!(asks(&[up]), None);
    }

    #[test]
    fn a_request_with_a_body_does_not_become_a_tunnel() {
        let up = [("connection", "upgrade"), ("upgrade", "websocket")];
        let with = |name, value| asks(&[up[0], up[1], (name, value)]);
        assert!(with("content-length", "0").is_some());
        assert!(with("content-length", "5").is_none());
        assert!(with("transfer-encoding", "chunked").is_none());
    }

    #[test]
    fn an_answer_gives_what_was_asked_for() {
        let asked = HeaderValue::from_static("websocket, chat/2");
        let gives = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(UPGRADE, HeaderValue::from_static(value));
            accepts(&asked, &headers)
        };
        assert!(gives("WebSocket") && gives("chat/2"));
        assert!(!gives("h2c") && !gives("chat") && !gives("") && !gives("websocket, h2c"));
        assert!(!accepts(&asked, &HeaderMap::new()));
    }
}
