//! Conditions, endpoints and callers in words.

use std::time::Duration;

use mesh_core::policy::model::{
    AbortStatus, AccessRule, AppProtocol, Backend, Discovery, Filter, HashKey, HashOn, Hostname,
    Operation, PathEdit, PathMatch, PathPattern, Peer, Redirect, Route, RouteMatch, Snapshot,
    TlsMode, ValueMatch,
};
use mesh_core::policy::spec::Interval;

/// The condition that always holds.
pub(super) const ANY: &str = "any";

pub(super) fn time(duration: Duration) -> String {
    Interval::new(duration).to_string()
}

pub(super) fn limit(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "none".to_owned(), time)
}

/// `GET /reviews/* x-user=7 ?page=2`.
pub(super) fn condition(host: Option<&Hostname>, condition: &RouteMatch) -> String {
    let mut words = Vec::new();
    words.extend(host.map(|host| format!("host {host}")));
    words.extend(condition.is_grpc().then(|| "gRPC".to_owned()));
    words.extend(condition.method().map(ToString::to_string));
    words.extend(condition.path().map(|path| match path {
        PathMatch::Exact(text) => text.to_string(),
        PathMatch::Prefix(text) => format!("{text}/*"),
        PathMatch::Regex(pattern) => format!("path ~ {}", pattern.as_str()),
    }));
    let value = |value: &ValueMatch| match value {
        ValueMatch::Exact(text) => format!("={text}"),
        ValueMatch::Regex(pattern) => format!(" ~ {}", pattern.as_str()),
    };
    let headers = condition.headers().iter();
    words.extend(headers.map(|h| format!("{}{}", h.name(), value(h.value()))));
    let query = condition.query().iter();
    words.extend(query.map(|q| format!("?{}{}", q.name(), value(q.value()))));
    if words.is_empty() {
        return ANY.to_owned();
    }
    words.join(" ")
}

pub(super) fn redirect(redirect: &Redirect) -> String {
    let mut text = format!("redirect {}", redirect.status().as_u16());
    for (what, value) in [("scheme", redirect.scheme()), ("host", redirect.host())] {
        if let Some(value) = value {
            text.push_str(&format!(" {what} {value}"));
        }
    }
    if let Some(port) = redirect.port() {
        text.push_str(&format!(" port {port}"));
    }
    if let Some(edit) = redirect.path() {
        text.push_str(&path_edit(edit));
    }
    text
}

/// What a filter changes.
pub(super) fn filter(filter: &Filter) -> String {
    match filter {
        Filter::RequestHeaders(edit) => format!("request headers: {}", headers(edit)),
        Filter::ResponseHeaders(edit) => format!("response headers: {}", headers(edit)),
        Filter::Redirect(edit) => redirect(edit),
        Filter::Rewrite(edit) => {
            let mut text = "rewrite".to_owned();
            if let Some(host) = edit.host() {
                text.push_str(&format!(" host {host}"));
            }
            text + &edit.path().map(path_edit).unwrap_or_default()
        }
        _ => "a change that this meshctl does not know".to_owned(),
    }
}

/// What else a route does beside its filters.
pub(super) fn extras(route: &Route, snapshot: &Snapshot) -> Vec<String> {
    let mut out = Vec::new();
    for mirror in route.mirrors().iter() {
        let name = snapshot.outbound().backend(mirror.backend());
        let name = name.map_or_else(|| "?".to_owned(), |b| b.key().to_string());
        out.push(format!(
            "mirror {} to {name}",
            share(mirror.percent_milli())
        ));
    }
    if let Some(fault) = route.fault() {
        let mut parts = Vec::new();
        if let Some(delay) = fault.delay() {
            let part = share(delay.percent_milli());
            parts.push(format!("{part} delayed by {}", time(delay.duration())));
        }
        if let Some(abort) = fault.abort() {
            let error = match abort.status() {
                AbortStatus::Http(status) => status.as_u16().to_string(),
                AbortStatus::Grpc(code) => format!("gRPC code {code}"),
            };
            parts.push(format!(
                "{} answered with {error}",
                share(abort.percent_milli())
            ));
        }
        match fault.header() {
            Some((name, None)) => parts.push(format!("where {name} is set")),
            Some((name, Some(value))) => {
                let value = String::from_utf8_lossy(value.as_bytes());
                parts.push(format!("where {name} is {value}"));
            }
            None => {}
        }
        parts.push(format!("at most {} at a time", fault.max_active()));
        if let Some(end) = fault.expires() {
            parts.push(match end.duration_since(std::time::SystemTime::now()) {
                Ok(left) => format!("ends in {}", crate::cli::table::span(left.as_secs())),
                Err(_) => "over".to_owned(),
            });
        }
        out.push(format!("fault {}: {}", fault.name(), parts.join(", ")));
    }
    if let Some(direct) = route.direct() {
        out.push(format!("answers {} by itself", direct.status().as_u16()));
    }
    if let Some(parts) = route.sticky() {
        let parts: Vec<_> = parts.iter().map(hash_on).collect();
        out.push(format!("sticky split by {}", parts.join(", ")));
    }
    if let Some(session) = route.session() {
        let kind = session.kind().as_str().to_lowercase();
        out.push(format!("session by {kind} {}", session.name()));
    }
    if let Some(edit) = route.trailers() {
        out.push(format!("trailers: {}", headers(edit)));
    }
    out
}

/// Thousandths of a percent.
fn share(percent_milli: u32) -> String {
    format!("{}%", f64::from(percent_milli) / 1000.0)
}

/// One part of what is hashed.
pub(super) fn hash_on(part: &HashOn) -> String {
    match part.key() {
        HashKey::Header(name) => format!("header {name}"),
        HashKey::Cookie { name, .. } => format!("cookie {name}"),
        HashKey::Source => "caller".to_owned(),
        HashKey::Query(name) => format!("query {name}"),
        _ => "something that this meshctl does not know".to_owned(),
    }
}

fn headers(edit: &mesh_core::policy::model::HeaderEdit) -> String {
    let pairs = |verb: &str, list: &[(http::HeaderName, http::HeaderValue)]| {
        let names: Vec<_> = list
            .iter()
            .map(|(name, value)| {
                format!(
                    "{verb} {name}={}",
                    String::from_utf8_lossy(value.as_bytes())
                )
            })
            .collect();
        names
    };
    let mut words = pairs("set", edit.set());
    words.extend(pairs("add", edit.add()));
    words.extend(edit.remove().iter().map(|name| format!("remove {name}")));
    words.join(", ")
}

fn path_edit(edit: &PathEdit) -> String {
    match edit {
        PathEdit::Full(path) => format!(" path {path}"),
        PathEdit::Prefix(prefix) => format!(" prefix {prefix}"),
    }
}

/// Where endpoints come from.
pub(super) fn endpoints(backend: &Backend) -> String {
    let mut text = match backend.discovery() {
        Discovery::Static(list) => match list.len() {
            1 => "1 fixed address".to_owned(),
            count => format!("{count} fixed addresses"),
        },
        Discovery::Dns {
            host, srv: true, ..
        } => format!("DNS SRV {host}"),
        Discovery::Dns { host, port, .. } => {
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            format!("DNS {host}{port}")
        }
        Discovery::Registered(name) => format!("instances registered as {name}"),
        Discovery::External { host, port } => format!("outside the mesh, DNS {host}:{port}"),
    };
    if !backend.subset().is_empty() {
        let labels: Vec<_> = backend
            .subset()
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        text.push_str(&format!(" with {}", labels.join(" ")));
    }
    text
}

pub(super) fn protocol(protocol: AppProtocol) -> &'static str {
    match protocol {
        AppProtocol::Http => "http",
        AppProtocol::Http2 => "http2",
        AppProtocol::Grpc => "grpc",
        AppProtocol::Tcp => "tcp",
    }
}

pub(super) fn tls(mode: TlsMode) -> &'static str {
    match mode {
        TlsMode::Mesh => "mutual TLS",
        TlsMode::System => "TLS by the system's roots",
        TlsMode::Plaintext => "plaintext",
    }
}

/// `web.shop, namespace ops: GET /a/*`.
pub(super) fn rule(rule: &AccessRule) -> String {
    let from = peers(rule.from());
    if rule.to().is_empty() {
        return format!("{from}: everything");
    }
    let to: Vec<_> = rule.to().iter().map(operation).collect();
    format!("{from}: {}", to.join("; "))
}

/// `web.shop, namespace batch`.
pub(super) fn peers(peers: &[Peer]) -> String {
    let from: Vec<_> = peers
        .iter()
        .map(|peer| match peer {
            Peer::Service(name) => name.host(),
            Peer::Namespace(namespace) => format!("namespace {namespace}"),
            Peer::Identity(id) => id.to_string(),
        })
        .collect();
    match from.is_empty() {
        true => "nobody".to_owned(),
        false => from.join(", "),
    }
}

pub(super) fn operation(operation: &Operation) -> String {
    let methods = operation.methods().iter().map(ToString::to_string);
    let paths = operation.paths().iter().map(|path| match path {
        PathPattern::Exact(text) => text.to_string(),
        PathPattern::Prefix(text) => format!("{text}/*"),
    });
    let grpc = operation.grpc().iter().map(|pattern| {
        let method = pattern.method().unwrap_or("*");
        format!("gRPC {}/{method}", pattern.service())
    });
    let words: Vec<_> = methods.chain(paths).chain(grpc).collect();
    words.join(" ")
}
