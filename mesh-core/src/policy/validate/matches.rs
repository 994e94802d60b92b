//! Conditions of rules, compiled.

use std::str::FromStr;

use http::{HeaderName, Method};

use super::findings::Findings;
use super::services::host;
use crate::error::Code;
use crate::policy::model::{
    HeaderMatch, Hostname, PathMatch, Pattern, QueryMatch, RouteMatch, ValueMatch,
};
use crate::policy::spec::{
    self, GrpcMatchType, GrpcRouteMatch, HttpRouteMatch, PathMatchType, Resource, ValueMatchType,
};

pub(super) fn http(
    resource: &Resource,
    path: &str,
    matches: &[HttpRouteMatch],
    findings: &mut Findings,
) -> Vec<RouteMatch> {
    if matches.is_empty() {
        return vec![RouteMatch::any()];
    }
    let mut out = Vec::with_capacity(matches.len());
    for (n, m) in matches.iter().enumerate() {
        let path = format!("{path}.matches[{n}]");
        let method = m.method.as_deref();
        out.push(RouteMatch {
            path: m
                .path
                .as_ref()
                .and_then(|p| self::path(resource, &path, p, findings)),
            method: method.and_then(|text| {
                let path = format!("{path}.method");
                self::method(resource, &path, text, findings)
            }),
            headers: headers(resource, &path, &m.headers, findings),
            query: query(resource, &path, m, findings),
            grpc: false,
        });
    }
    out
}

pub(super) fn grpc(
    resource: &Resource,
    path: &str,
    matches: &[GrpcRouteMatch],
    findings: &mut Findings,
) -> Vec<RouteMatch> {
    if matches.is_empty() {
        return vec![RouteMatch::any().only_grpc()];
    }
    let mut out = Vec::with_capacity(matches.len());
    for (n, m) in matches.iter().enumerate() {
        let path = format!("{path}.matches[{n}]");
        let mut compiled = RouteMatch::any().only_grpc();
        compiled.headers = headers(resource, &path, &m.headers, findings);
        if let Some(method) = &m.method {
            compiled.path = grpc_path(resource, &format!("{path}.method"), method, findings);
        }
        out.push(compiled);
    }
    out
}

/// A gRPC method is the path `/package.Service/Method`.
fn grpc_path(
    resource: &Resource,
    path: &str,
    m: &spec::GrpcMethodMatch,
    findings: &mut Findings,
) -> Option<PathMatch> {
    let regex = m.kind == Some(GrpcMatchType::RegularExpression);
    let both = [("service", &m.service), ("method", &m.method)];
    if both.iter().all(|(_, text)| text.is_none()) {
        let message = "`service` or `method` is needed";
        findings.error(resource, path, Code::POLICY_MISSING_FIELD, message);
        return None;
    }
    for (field, text) in both {
        let Some(text) = text else { continue };
        let path = format!("{path}.{field}");
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        if regex {
            pattern(resource, &path, text, findings)?;
        } else if text.is_empty() || !text.chars().all(plain) {
            let message = format!("`{text}` is no name of a gRPC {field}");
            findings
                .error(resource, path, Code::POLICY_NAME, message)
                .help("such as service: shop.v1.Reviews, method: Get");
            return None;
        }
    }
    let any = "[^/]+";
    match (m.service.as_deref(), m.method.as_deref(), regex) {
        (Some(service), Some(method), false) => {
            Some(PathMatch::Exact(format!("/{service}/{method}").into()))
        }
        (Some(service), None, false) => Some(PathMatch::prefix(&format!("/{service}"))),
        (service, method, _) => {
            let quote = |text: Option<&str>| match text {
                None => any.to_owned(),
                Some(text) if regex => format!("(?:{text})"),
                Some(text) => regex::escape(text),
            };
            let text = format!("/{}/{}", quote(service), quote(method));
            pattern(resource, path, &text, findings).map(PathMatch::Regex)
        }
    }
}

fn path(
    resource: &Resource,
    at: &str,
    m: &spec::PathMatch,
    findings: &mut Findings,
) -> Option<PathMatch> {
    let at = format!("{at}.path.value");
    let value = m.value.as_deref().unwrap_or("/");
    let kind = m.kind.unwrap_or(PathMatchType::PathPrefix);
    if kind == PathMatchType::RegularExpression {
        return pattern(resource, &at, value, findings).map(PathMatch::Regex);
    }
    check_path(resource, &at, value, findings);
    Some(match kind {
        PathMatchType::Exact => PathMatch::Exact(value.into()),
        _ => PathMatch::prefix(value),
    })
}

/// A path begins with `/` and holds neither query nor fragment.
pub(super) fn check_path(resource: &Resource, at: &str, value: &str, findings: &mut Findings) {
    let bad = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '?' | '#');
    if !value.starts_with('/') {
        let finding = findings.error(
            resource,
            at,
            Code::POLICY_RANGE,
            format!("the path `{value}` does not begin with `/`"),
        );
        finding.hint(format!("did you mean `/{value}`?"));
    } else if value.contains(bad) {
        let message = format!("`{value}` is more than a path");
        findings
            .error(resource, at, Code::POLICY_RANGE, message)
            .help("neither spaces, `?` nor `#`; a query is matched by `queryParams`");
    } else if is_ambiguous(value) {
        let message = format!("`{value}` is read in more than one way");
        findings
            .error(resource, at, Code::POLICY_RANGE, message)
            .help("no `//`, no `.` or `..` as a segment, no escaped `/`");
    }
}

/// Gateway API's rule for values of Exact and PathPrefix.
fn is_ambiguous(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    lower.contains("//")
        || lower.contains("%2f")
        || lower
            .split('/')
            .any(|segment| matches!(segment, "." | ".."))
}

pub(super) fn method(
    resource: &Resource,
    at: &str,
    text: &str,
    findings: &mut Findings,
) -> Option<Method> {
    const KNOWN: [&str; 9] = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
    ];
    if KNOWN.contains(&text) {
        return Method::from_bytes(text.as_bytes()).ok();
    }
    let near = crate::policy::text::closest(text, KNOWN);
    let near = near.or_else(|| KNOWN.into_iter().find(|k| k.eq_ignore_ascii_case(text)));
    findings
        .error(
            resource,
            at,
            Code::POLICY_RANGE,
            format!("`{text}` is no HTTP method"),
        )
        .maybe_hint(near.map(|near| format!("did you mean `{near}`?")));
    None
}

fn headers(
    resource: &Resource,
    at: &str,
    headers: &[spec::HeaderMatch],
    findings: &mut Findings,
) -> Vec<HeaderMatch> {
    let mut out: Vec<HeaderMatch> = Vec::new();
    for (n, m) in headers.iter().enumerate() {
        let at = format!("{at}.headers[{n}]");
        let name = header_name(resource, &format!("{at}.name"), &m.name, findings);
        let value = value(resource, &at, m.kind, &m.value, findings);
        let (Some(name), Some(value)) = (name, value) else {
            continue;
        };
        if out.iter().any(|h| h.name == name) {
            twice(resource, &at, name.as_str(), findings);
        }
        out.push(HeaderMatch { name, value });
    }
    out
}

fn query(
    resource: &Resource,
    at: &str,
    m: &HttpRouteMatch,
    findings: &mut Findings,
) -> Vec<QueryMatch> {
    let mut out: Vec<QueryMatch> = Vec::new();
    for (n, m) in m.query_params.iter().enumerate() {
        let at = format!("{at}.queryParams[{n}]");
        if m.name.is_empty() {
            let message = "the name of a query parameter is empty";
            findings.error(resource, format!("{at}.name"), Code::POLICY_NAME, message);
        }
        if out.iter().any(|q| *q.name == *m.name) {
            twice(resource, &at, &m.name, findings);
        }
        if let Some(value) = value(resource, &at, m.kind, &m.value, findings) {
            out.push(QueryMatch::new(m.name.as_str(), value));
        }
    }
    out
}

/// One name can hold only one condition: Gateway API would ignore the second in silence.
fn twice(resource: &Resource, at: &str, name: &str, findings: &mut Findings) {
    let message = format!("`{name}` has two conditions in one match");
    findings
        .error(
            resource,
            format!("{at}.name"),
            Code::POLICY_DUPLICATE_NAME,
            message,
        )
        .help("both must hold at once; use one RegularExpression");
}

fn value(
    resource: &Resource,
    at: &str,
    kind: Option<ValueMatchType>,
    text: &str,
    findings: &mut Findings,
) -> Option<ValueMatch> {
    match kind {
        None | Some(ValueMatchType::Exact) => Some(ValueMatch::Exact(text.into())),
        Some(ValueMatchType::RegularExpression) => {
            let at = format!("{at}.value");
            pattern(resource, &at, text, findings).map(ValueMatch::Regex)
        }
    }
}

pub(super) fn header_name(
    resource: &Resource,
    at: &str,
    text: &str,
    findings: &mut Findings,
) -> Option<HeaderName> {
    match HeaderName::from_str(text) {
        Ok(name) => Some(name),
        Err(_) => {
            let message = format!("`{text}` is no name of a header");
            findings.error(resource, at, Code::POLICY_NAME, message);
            None
        }
    }
}

fn pattern(resource: &Resource, at: &str, text: &str, findings: &mut Findings) -> Option<Pattern> {
    match Pattern::new(text) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            let error = error.to_string();
            let why = error.lines().last().unwrap_or_default();
            let why = why.strip_prefix("error: ").unwrap_or(why);
            let message = format!("`{text}` is no regular expression: {why}");
            findings.error(resource, at, Code::POLICY_REGEX, message);
            None
        }
    }
}

pub(super) fn hostnames(
    resource: &Resource,
    texts: &[String],
    findings: &mut Findings,
) -> Vec<Hostname> {
    let mut out = Vec::new();
    for (n, text) in texts.iter().enumerate() {
        let lower = text.to_ascii_lowercase();
        let (rest, wild) = match lower.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (lower.as_str(), false),
        };
        host(resource, &format!("spec.hostnames[{n}]"), rest, findings);
        out.push(if wild {
            Hostname::Suffix(format!(".{rest}").into())
        } else {
            Hostname::Exact(rest.into())
        });
    }
    out
}
