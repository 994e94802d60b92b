//! What a hash is taken of.

use std::sync::Arc;

use http::HeaderName;

use super::ranges::Ranges;
use crate::error::Code;
use crate::policy::model::{HashKey, HashOn};
use crate::policy::spec::{self, Interval};

/// Compiles the parts; what is wrong is left out, see [`check`].
pub(super) fn compile(parts: &[spec::HashOn]) -> Arc<[HashOn]> {
    parts.iter().filter_map(part).collect()
}

fn part(part: &spec::HashOn) -> Option<HashOn> {
    let key = match part {
        spec::HashOn {
            header: Some(name), ..
        } => HashKey::Header(name.parse().ok()?),
        spec::HashOn {
            cookie: Some(cookie),
            ..
        } => HashKey::Cookie {
            name: cookie.name.as_str().into(),
            ttl: cookie.ttl.map(Interval::get),
            path: cookie.path.as_deref().map(Into::into),
        },
        spec::HashOn {
            query: Some(name), ..
        } => HashKey::Query(name.as_str().into()),
        spec::HashOn {
            source: Some(true), ..
        } => HashKey::Source,
        _ => return None,
    };
    Some(HashOn::new(key).with_terminal(part.terminal.unwrap_or(false)))
}

/// The parts below the field `at`.
pub(super) fn check(ranges: &mut Ranges<'_, '_>, at: &str, parts: &[spec::HashOn]) {
    for (n, part) in parts.iter().enumerate() {
        let at = format!("{at}[{n}]");
        let given = [
            part.header.is_some(),
            part.cookie.is_some(),
            part.query.is_some(),
            part.source == Some(true),
        ];
        if given.into_iter().filter(|given| *given).count() != 1 {
            let why = "a hash is taken of exactly one of header, cookie, source, query";
            ranges
                .refuse(&at, why)
                .help("such as { header: x-user } or { source: true }");
        }
        if let Some(name) = &part.header {
            header(ranges, &format!("{at}.header"), name);
        }
        if let Some(cookie) = &part.cookie {
            self::cookie(ranges, &format!("{at}.cookie.name"), &cookie.name);
            if let Some(path) = &cookie.path
                && (!path.starts_with('/') || path.contains([';', ' ']) || !path.is_ascii())
            {
                let why = format!("`{path}` is no path of a cookie");
                ranges.refuse(&format!("{at}.cookie.path"), why);
            }
        }
        if part.query.as_deref() == Some("") {
            ranges.refuse(&format!("{at}.query"), "a query parameter has a name");
        }
    }
}

/// The name of a header.
pub(super) fn header(ranges: &mut Ranges<'_, '_>, at: &str, name: &str) {
    if name.parse::<HeaderName>().is_err() {
        let why = format!("`{name}` is not the name of a header");
        ranges.note(at, Code::POLICY_NAME, why);
    }
}

/// The name of a cookie: a token (RFC 6265), which is what a header's name is too.
pub(super) fn cookie(ranges: &mut Ranges<'_, '_>, at: &str, name: &str) {
    if name.parse::<HeaderName>().is_err() {
        let why = format!("`{name}` is not the name of a cookie");
        ranges.note(at, Code::POLICY_NAME, why);
    }
}
