//! Fields that belong to one connection and must not travel on (RFC 9110 7.6.1).
//!
//! What `Connection` names goes too, except what decides where a message ends or who is asked: to
//! name `Host` or a header of the mesh in `Connection` is a known way to make a proxy drop what the
//! next hop relies on.

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, HOST, HeaderName, MAX_FORWARDS, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION,
    SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Which of the fields there are: most messages have none, and a look at each name costs less than
/// the look-ups, each of which hashes.
#[derive(Default)]
struct Found {
    connection: bool,
    upgrade: bool,
    te: bool,
    rest: bool,
}

/// Removes the fields of the connection from a request or an answer, and says whether it was to be the
/// last one on it. `te: trailers` stays: gRPC needs it, and trailers are passed on.
///
/// `upgrade`, asked where the message offers one or has it, says which protocols stay.
pub(crate) fn strip(
    headers: &mut HeaderMap,
    upgrade: impl FnOnce(&HeaderMap) -> Option<HeaderValue>,
) -> bool {
    let mut found = Found::default();
    for name in headers.keys() {
        found.see(name);
    }
    let upgrade = found.upgrade.then(|| upgrade(headers)).flatten();
    let mut close = false;
    if found.connection {
        close = remove_named(headers);
        headers.remove(CONNECTION);
    }
    if found.upgrade {
        headers.remove(UPGRADE);
        // Of h2c, which nobody goes on asking for.
        headers.remove(HTTP2_SETTINGS);
    }
    if let Some(protocols) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocols);
    }
    if found.rest {
        // hyper frames a message by its body: a length beside another coding would be a second word on
        // where it ends (RFC 9112 6.3).
        if headers.remove(TRANSFER_ENCODING).is_some() {
            headers.remove(CONTENT_LENGTH);
        }
        for name in [
            KEEP_ALIVE,
            PROXY_CONNECTION,
            PROXY_AUTHENTICATE,
            PROXY_AUTHORIZATION,
        ] {
            headers.remove(name);
        }
    }
    if found.te {
        let trailers = listed(headers, &TE).any(|coding| coding.eq_ignore_ascii_case("trailers"));
        headers.remove(TE);
        if trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
    }
    close
}

/// Removes what trailers may not say: fields of the connection, and those that decide where a message
/// ends or who is asked, which must be known with its head (RFC 9110 6.5.1).
pub(crate) fn strip_trailers(trailers: &mut HeaderMap) {
    while let Some(name) = trailers.keys().find(|name| is_of_the_head(name)).cloned() {
        trailers.remove(name);
    }
}

/// Whether a trailer of HTTP/1.1 may have this name: hyper's list is longer than what trailers must
/// not say.
pub(crate) fn may_trail(name: &HeaderName) -> bool {
    const NOT: [HeaderName; 6] = [
        CACHE_CONTROL,
        CONTENT_ENCODING,
        CONTENT_RANGE,
        CONTENT_TYPE,
        MAX_FORWARDS,
        SET_COOKIE,
    ];
    !is_of_the_head(name) && !NOT.contains(name)
}

fn is_of_the_head(name: &HeaderName) -> bool {
    match name.as_str().len() {
        2 => *name == TE,
        4 => *name == HOST,
        7 => *name == UPGRADE || *name == TRAILER,
        10 => *name == CONNECTION || *name == KEEP_ALIVE,
        13 => *name == AUTHORIZATION,
        14 => *name == CONTENT_LENGTH,
        16 => *name == PROXY_CONNECTION,
        17 => *name == TRANSFER_ENCODING,
        18 => *name == PROXY_AUTHENTICATE,
        19 => *name == PROXY_AUTHORIZATION,
        _ => false,
    }
}

/// Whether the `Connection` field lists a name.
pub(crate) fn connection_lists(headers: &HeaderMap, name: &str) -> bool {
    listed(headers, &CONNECTION).any(|one| one.eq_ignore_ascii_case(name))
}

pub(crate) fn listed<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .map(str::trim)
}

/// Whether `close` was among the names.
fn remove_named(headers: &mut HeaderMap) -> bool {
    let mut values = headers.get_all(CONNECTION).iter();
    if let (Some(only), None) = (values.next(), values.next()) {
        // What nearly all messages say names no other field.
        if only.as_bytes().eq_ignore_ascii_case(b"keep-alive") {
            headers.remove(KEEP_ALIVE);
            return false;
        }
        if only.as_bytes().eq_ignore_ascii_case(b"close") {
            return true;
        }
    }
    let close = connection_lists(headers, "close");
    let named: Vec<HeaderName> = listed(headers, &CONNECTION)
        .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
        .filter(may_be_named)
        .collect();
    for name in named {
        headers.remove(name);
    }
    close
}

fn may_be_named(name: &HeaderName) -> bool {
    // TE and Upgrade are treated on their own.
    ![HOST, CONTENT_LENGTH, TE, UPGRADE].contains(name)
        && !name.as_str().starts_with("mesh-")
        && !name.as_str().starts_with("x-mesh-")
}

// === impl Found ===

impl Found {
    fn see(&mut self, name: &HeaderName) {
        match name.as_str().len() {
            2 => self.te |= *name == TE,
            7 => self.upgrade |= *name == UPGRADE,
            10 if *name == CONNECTION => self.connection = true,
            10 => self.rest |= *name == KEEP_ALIVE,
            16 => self.rest |= *name == PROXY_CONNECTION,
            17 => self.rest |= *name == TRANSFER_ENCODING,
            18 => self.rest |= *name == PROXY_AUTHENTICATE,
            19 => self.rest |= *name == PROXY_AUTHORIZATION,
            _ => {}
        }
    }
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

    fn stripped(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = map(fields);
        strip(&mut headers, |_| None);
        headers
    }

    #[test]
    fn fields_of_the_connection_are_removed() {
        let left = stripped(&[
            ("connection", "keep-alive, X-Private"),
            ("connection", "close"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic x"),
            ("proxy-authenticate", "Basic"),
            ("upgrade", "h2c"),
            ("transfer-encoding", "chunked"),
            ("te", "gzip"),
            ("accept", "*/*"),
        ]);
        assert_eq!(left, map(&[("accept", "*/*")]));
    }

    #[test]
    fn whether_it_is_the_last_message_is_said() {
        for (listed, last) in [
            ("close", true),
            ("Close", true),
            ("x-a, close", true),
            ("keep-alive", false),
            ("closed", false),
        ] {
            let mut headers = map(&[("connection", listed), ("keep-alive", "1"), ("x-a", "1")]);
            assert_eq!(strip(&mut headers, |_| None), last, "{listed}");
            assert_eq!(headers.contains_key("x-a"), !listed.contains("x-a"));
            assert_eq!(headers.len(), usize::from(headers.contains_key("x-a")));
        }
    }

    #[test]
    fn trailers_say_nothing_of_the_head() {
        let mut trailers = map(&[
            ("grpc-status", "0"),
            ("host", "evil"),
            ("connection", "close"),
            ("content-length", "7"),
            ("x-sum", "1"),
        ]);
        strip_trailers(&mut trailers);
        assert_eq!(trailers, map(&[("grpc-status", "0"), ("x-sum", "1")]));
    }

    #[test]
    fn each_is_found_alone() {
        for name in [
            "connection",
            "keep-alive",
            "proxy-connection",
            "proxy-authorization",
            "proxy-authenticate",
            "upgrade",
            "transfer-encoding",
            "te",
        ] {
            let left = stripped(&[(name, "x"), ("accept", "*/*")]);
            assert_eq!(left, map(&[("accept", "*/*")]), "{name}");
        }
    }

    #[test]
    fn trailers_stay_welcome() {
        let left = stripped(&[("te", "gzip, Trailers"), ("connection", "TE")]);
        assert_eq!(left, map(&[("te", "trailers")]));
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
        let named = "host, content-length, x-mesh-attempt, mesh-reason";
        headers.insert(CONNECTION, HeaderValue::from_static(named));
        strip(&mut headers, |_| None);
        assert_eq!(headers, map(&fields));
    }

    #[test]
    fn an_offer_stays_where_it_may() {
        let offer = [
            ("connection", "keep-alive, Upgrade, http2-settings"),
            ("upgrade", "h2c, websocket"),
            ("http2-settings", "AAMAAABkAAQAAP__"),
        ];
        assert!(stripped(&offer).is_empty());
        let mut headers = map(&offer);
        strip(&mut headers, |_| {
            Some(HeaderValue::from_static("websocket"))
        });
        let kept = [("connection", "upgrade"), ("upgrade", "websocket")];
        assert_eq!(headers, map(&kept));
        let mut headers = map(&[("accept", "*/*")]);
        strip(&mut headers, |_| unreachable!("nothing is offered"));
        assert_eq!(headers.len(), 1);
    }
}
