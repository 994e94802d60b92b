//! The hash of what stays the same over the calls of one user: a header, a cookie, a query parameter
//! or the caller.
//!
//! The rule is that of gRFC A42 (and of Envoy's `hash_policy`): the parts are hashed with XXH64,
//! seed 0, in the order of the policy; each that is there is combined by rotating what there is by
//! one to the left and xor; a terminal part ends the list once anything was found. So a key is the
//! same in every process and after every restart.

use std::fmt::Write;
use std::hash::Hasher;

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use twox_hash::XxHash64;

use super::query;
use crate::policy::model::{HashKey, HashOn};

/// The key of a request; `None` when it has none of the parts. `source` is the caller, for
/// [`HashKey::Source`]. Allocates nothing.
pub fn hash(on: &[HashOn], uri: &Uri, headers: &HeaderMap, source: Option<&[u8]>) -> Option<u64> {
    hash_with(on, uri, headers, source, "")
}

/// The same; a cookie that is [lacking](lacking_cookie) has this value. An empty one is none.
pub fn hash_with(
    on: &[HashOn],
    uri: &Uri,
    headers: &HeaderMap,
    source: Option<&[u8]>,
    given: &str,
) -> Option<u64> {
    let mut key: Option<u64> = None;
    for part in on {
        if let Some(new) = hash_part(part.key(), uri, headers, source, given) {
            key = Some(key.map_or(new, |old| old.rotate_left(1) ^ new));
        }
        if part.is_terminal() && key.is_some() {
            break;
        }
    }
    key
}

/// The cookie that the caller should be given, so that its next call has the hash of this one
/// (Envoy's `cookie` hash policy with a `ttl`).
pub fn lacking_cookie<'a>(on: &'a [HashOn], headers: &HeaderMap) -> Option<&'a HashKey> {
    on.iter().map(HashOn::key).find(|key| match key {
        HashKey::Cookie { name, ttl, .. } => ttl.is_some() && cookie(headers, name).is_none(),
        _ => false,
    })
}

/// The `set-cookie` header that gives a [lacking](lacking_cookie) cookie a value.
pub fn given_cookie(key: &HashKey, value: &str) -> Option<HeaderValue> {
    let HashKey::Cookie { name, ttl, path } = key else {
        return None;
    };
    let mut out = format!("{name}={value}");
    // Writing to a string does not fail. A lifetime of zero is as long as the caller's session.
    if let Some(ttl) = ttl.filter(|ttl| !ttl.is_zero()) {
        let _ = write!(out, "; Max-Age={}", ttl.as_secs().max(1));
    }
    if let Some(path) = path {
        let _ = write!(out, "; Path={path}");
    }
    out.push_str("; HttpOnly");
    HeaderValue::from_str(&out).ok()
}

fn hash_part(
    key: &HashKey,
    uri: &Uri,
    headers: &HeaderMap,
    source: Option<&[u8]>,
    given: &str,
) -> Option<u64> {
    match key {
        HashKey::Header(name) => header(headers, name),
        HashKey::Cookie { name, ttl, .. } => {
            let given = (ttl.is_some() && !given.is_empty()).then_some(given);
            let value = cookie(headers, name).or(given)?;
            Some(XxHash64::oneshot(0, value.as_bytes()))
        }
        HashKey::Source => source.map(|source| XxHash64::oneshot(0, source)),
        HashKey::Query(name) => query::first(uri.query(), name).map(|bytes| {
            let mut hash = XxHash64::with_seed(0);
            bytes.for_each(|byte| hash.write_u8(byte));
            hash.finish()
        }),
    }
}

/// Of a header that is given more than once, the values joined by commas (A42). Binary headers of
/// gRPC have no hash (A42).
fn header(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    if name.as_str().ends_with("-bin") {
        return None;
    }
    let mut hash: Option<XxHash64> = None;
    for value in headers.get_all(name) {
        match &mut hash {
            None => hash = Some(XxHash64::with_seed(0)),
            Some(hash) => hash.write(b","),
        }
        if let Some(hash) = &mut hash {
            hash.write(value.as_bytes());
        }
    }
    hash.map(|hash| hash.finish())
}

/// The value of a cookie of the request; of two with one name the first counts (RFC 6265, 5.4 sends
/// the more specific one first).
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        list.iter().map(pair).collect()
    }

    fn of(on: &[HashOn], uri: &str, list: &[(&'static str, &'static str)]) -> Option<u64> {
        let source: &[u8] = b"spiffe://mesh/ns/shop/sa/web";
        hash(on, &uri.parse().unwrap(), &headers(list), Some(source))
    }

    fn on_header(name: &'static str) -> HashOn {
        HashOn::new(HashKey::Header(HeaderName::from_static(name)))
    }

    fn on_cookie(name: &str) -> HashOn {
        HashOn::new(HashKey::Cookie {
            name: name.into(),
            ttl: None,
            path: None,
        })
    }

    fn xxh64(text: &str) -> Option<u64> {
        Some(XxHash64::oneshot(0, text.as_bytes()))
    }

    #[test]
    fn a42_one_part_is_the_xxh64_of_its_value() {
        // Published value of XXH64("a", seed 0).
        assert_eq!(xxh64("a"), Some(0xD24E_C4F1_A98C_6E5B));
        assert_eq!(
            of(&[on_header("x-user")], "/", &[("x-user", "a")]),
            xxh64("a")
        );
        assert_eq!(
            of(
                &[on_cookie("sid")],
                "/",
                &[("cookie", "a=1; sid=\"s 7\"; sid=8")]
            ),
            xxh64("s 7")
        );
        assert_eq!(of(&[on_cookie("sid")], "/", &[("cookie", "xsid=1")]), None);
        let query = HashOn::new(HashKey::Query("u".into()));
        assert_eq!(
            of(std::slice::from_ref(&query), "/p?x=1&u=a%62&u=z", &[]),
            xxh64("ab")
        );
        assert_eq!(of(&[query], "/p", &[]), None);
        assert_eq!(
            of(&[HashOn::new(HashKey::Source)], "/", &[]),
            xxh64("spiffe://mesh/ns/shop/sa/web")
        );
    }

    #[test]
    fn a42_values_of_a_repeated_header_are_joined_by_commas_and_binary_ones_are_not_hashed() {
        let twice = [("x-user", "a"), ("x-user", "b")];
        assert_eq!(of(&[on_header("x-user")], "/", &twice), xxh64("a,b"));
        assert_eq!(of(&[on_header("x-bin")], "/", &[("x-bin", "a")]), None);
    }

    #[test]
    fn a42_parts_are_combined_by_rotation_and_xor_and_a_terminal_one_ends_them() {
        let both = [("a", "1"), ("b", "2")];
        let (one, two) = (xxh64("1").unwrap(), xxh64("2").unwrap());
        let parts = [on_header("a"), on_header("b")];
        assert_eq!(of(&parts, "/", &both), Some(one.rotate_left(1) ^ two));
        assert_eq!(of(&parts, "/", &both[1..]), Some(two));
        let parts = [on_header("a").with_terminal(true), on_header("b")];
        assert_eq!(of(&parts, "/", &both), Some(one));
        assert_eq!(of(&parts, "/", &both[1..]), Some(two));
        assert_eq!(of(&parts, "/", &[]), None);
    }

    #[test]
    fn a_cookie_that_is_lacking_is_given_and_the_next_call_has_the_same_hash() {
        let sid = |ttl, path: Option<&str>| {
            HashOn::new(HashKey::Cookie {
                name: "sid".into(),
                ttl,
                path: path.map(Into::into),
            })
        };
        let minute = Some(Duration::from_secs(60));
        let on = [on_header("a"), sid(minute, Some("/shop"))];
        let uri = Uri::from_static("/");
        let without = headers(&[("a", "1")]);
        let lacking = lacking_cookie(&on, &without).unwrap();
        let cookie = given_cookie(lacking, "00ff").unwrap();
        assert_eq!(cookie, "sid=00ff; Max-Age=60; Path=/shop; HttpOnly");
        let now = hash_with(&on, &uri, &without, None, "00ff");
        let with = headers(&[("a", "1"), ("cookie", "sid=00ff")]);
        assert_eq!(lacking_cookie(&on, &with), None);
        assert_eq!(hash(&on, &uri, &with, None), now);
        assert_ne!(hash(&on, &uri, &without, None), now);
        // A session's cookie has no age; without a ttl none is given.
        let session = sid(Some(Duration::ZERO), None);
        let cookie = given_cookie(session.key(), "1").unwrap();
        assert_eq!(cookie, "sid=1; HttpOnly");
        assert_eq!(lacking_cookie(&[sid(None, None)], &without), None);
    }
}
