use http::{HeaderMap, HeaderValue};

use crate::metadata;

/// Longest tracestate that is passed on, in bytes (Trace Context 3.3.1.5 asks for at least 512).
pub const MAX_TRACESTATE: usize = 4096;
/// Most members of a tracestate (Trace Context 3.3.1.1).
const MAX_MEMBERS: usize = 32;
/// Longest key and longest value.
const MAX_PART: usize = 256;

/// A tracestate to pass on: as it came, unless a member breaks the grammar, there are more than 32,
/// or it is longer than [`MAX_TRACESTATE`] (Trace Context 3.3.1). The mesh writes no member of its
/// own.
pub fn accept_tracestate(value: &HeaderValue) -> Option<HeaderValue> {
    is_acceptable(value.to_str().ok()?).then(|| value.clone())
}

/// The tracestate of a request; several headers are one list (Trace Context 3.3.1).
pub(super) fn tracestate_of(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut all = headers.get_all(metadata::TRACESTATE).iter();
    let first = all.next()?;
    let mut joined = String::new();
    for value in all {
        if joined.is_empty() {
            joined.push_str(first.to_str().ok()?);
        }
        joined.push(',');
        joined.push_str(value.to_str().ok()?);
    }
    if joined.is_empty() {
        return accept_tracestate(first);
    }
    accept_tracestate(&HeaderValue::try_from(joined).ok()?)
}

fn is_acceptable(text: &str) -> bool {
    let mut count = 0_usize;
    // Empty members are allowed, and blanks around each.
    for member in text.split(',').map(str::trim).filter(|m| !m.is_empty()) {
        count += 1;
        let Some((key, value)) = member.split_once('=') else {
            return false;
        };
        if !is_key(key) || !is_value(value) {
            return false;
        }
    }
    (1..=MAX_MEMBERS).contains(&count) && text.len() <= MAX_TRACESTATE
}

/// `key`, or `tenant@system` with at most 241 and 14 characters (Trace Context 3.3.1.3.1).
fn is_key(key: &str) -> bool {
    let plain = |text: &str, max: usize| {
        let first = text.bytes().next();
        let rest = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/');
        first.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            && text.len() <= max
            && text.bytes().all(rest)
    };
    match key.split_once('@') {
        None => plain(key, MAX_PART),
        Some((tenant, system)) => plain(tenant, 241) && plain(system, 14),
    }
}

/// Printable ASCII but `,` and `=`, not ending with a blank.
fn is_value(value: &str) -> bool {
    let printable = |b: u8| matches!(b, b' '..=b'~') && b != b',' && b != b'=';
    !value.is_empty()
        && value.len() <= MAX_PART
        && !value.ends_with(' ')
        && value.bytes().all(printable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(text: &str) -> bool {
        accept_tracestate(&HeaderValue::from_str(text).unwrap()).is_some()
    }

    fn members(count: usize) -> String {
        let all: Vec<_> = (0..count).map(|i| format!("k{i}=v")).collect();
        all.join(",")
    }

    #[test]
    fn what_the_standard_allows_passes() {
        for text in [
            "foo=1",
            "foo=1,bar=2",
            "foo=1 \t , \t bar=2, \t baz=3",
            "foo=1,",
            "foo=1,,bar=2",
            "foo=bar baz",
            "abcdefghijklmnopqrstuvwxyz0123456789_-*/=1",
            "1a-2f@foo=bar1",
            &members(32),
            &format!("{}=1", "z".repeat(256)),
            &format!("{}@{}=1", "t".repeat(241), "v".repeat(14)),
            &format!("a={},b={}", "x".repeat(256), "y".repeat(256)),
        ] {
            assert!(passes(text), "{text}");
        }
    }

    #[test]
    fn what_it_forbids_is_dropped() {
        for text in [
            "",
            ",",
            "foo",
            "=1",
            "foo=",
            "foo=,bar=3",
            "foo =1",
            "FOO=1",
            "foo.bar=1",
            "foo@=1",
            "@foo=1",
            "foo@@bar=1",
            "foo@bar@baz=1",
            "foo=bar=baz",
            &members(33),
            &format!("{}=1", "z".repeat(257)),
            &format!("{}@v=1", "t".repeat(242)),
            &format!("t@{}=1", "v".repeat(15)),
            &format!("foo={}", "x".repeat(257)),
        ] {
            assert!(!passes(text), "{text}");
        }
    }

    #[test]
    fn several_headers_are_one_list() {
        let read = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(metadata::TRACESTATE, HeaderValue::from_static(value));
            }
            tracestate_of(&headers)
        };
        assert_eq!(read(&["foo=1", "bar=2"]).unwrap(), "foo=1,bar=2");
        assert_eq!(read(&["foo=1", "", "bar=2"]).unwrap(), "foo=1,,bar=2");
        assert_eq!(read(&["", "foo=1"]).unwrap(), ",foo=1");
        assert_eq!(read(&["foo=1", "FOO"]), None);
        assert_eq!(read(&[]), None);
    }
}
