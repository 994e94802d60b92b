//! Rules that can never serve, and routes that contend for one parent.
//!
//! Of two matches that fit, the more specific one wins wherever it stands, and a match that holds
//! whenever another does is never more specific than that. So an earlier rule hides a later one
//! exactly if their matches are the same.

use std::collections::BTreeMap;

use super::findings::Findings;
use super::routes::AttachedRoute;
use crate::error::Code;
use crate::name::ServiceName;
use crate::policy::model::{Hostname, PathMatch, Route, RouteMatch, ValueMatch};
use crate::policy::spec::ResourceId;

/// Everything that decides whether two matches are the same.
type Key = (Option<String>, String, String);

pub(super) fn check(routes: &[AttachedRoute<'_>], findings: &mut Findings) {
    let mut services: BTreeMap<(&ServiceName, Option<&str>), Vec<&AttachedRoute<'_>>> =
        BTreeMap::new();
    for route in routes {
        // Consumer routes replace the producer's for callers of their namespace.
        let namespace = route.resource.metadata().namespace.as_str();
        let group = (&route.service, route.consumer.then_some(namespace));
        services.entry(group).or_default().push(route);
    }
    for routes in services.values() {
        contend(routes, findings);
    }
}

fn contend(routes: &[&AttachedRoute<'_>], findings: &mut Findings) {
    let mut seen: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
    let mut reported: Vec<(ResourceId, ResourceId)> = Vec::new();
    for (n, this) in routes.iter().enumerate() {
        let keys = keys(&this.route);
        // Which earlier rule of the same resource hides each match of this one.
        let mut hidden = Vec::new();
        for key in &keys {
            let earlier = seen.get(key).map(Vec::as_slice).unwrap_or_default();
            let earlier = earlier.iter().map(|n| routes[*n]);
            for other in earlier.filter(|o| same_port(o.port, this.port)) {
                if other.resource.id() == this.resource.id() {
                    if other.port == this.port {
                        hidden.push((key, other.route.origin.rule));
                    }
                    continue;
                }
                overlap(other, this, &mut reported, findings);
            }
        }
        let rule = this.route.origin.rule;
        let all_hidden = keys.iter().all(|k| hidden.iter().any(|(h, _)| *h == k));
        if let Some((_, first)) = hidden.first()
            && all_hidden
        {
            let at = format!("spec.rules[{rule}]");
            findings
                .error(
                    this.resource,
                    &at,
                    Code::POLICY_SHADOWED,
                    format!("rule {rule} never serves: rule {first} matches the same calls"),
                )
                .help("delete one, or make its matches more specific");
        }
        for key in keys {
            // The first rule of a resource speaks for those that it hides.
            let list = seen.entry(key).or_default();
            let same = |m: &usize| {
                let other = routes[*m];
                other.port == this.port && std::ptr::eq(other.resource, this.resource)
            };
            if !list.iter().any(same) {
                list.push(n);
            }
        }
    }
}

fn overlap(
    other: &AttachedRoute<'_>,
    this: &AttachedRoute<'_>,
    reported: &mut Vec<(ResourceId, ResourceId)>,
    findings: &mut Findings,
) {
    let pair = (other.resource.id(), this.resource.id());
    if reported.contains(&pair) {
        return;
    }
    let message = format!(
        "{} and {} match the same calls to {}",
        pair.1, pair.0, this.service
    );
    let (a, b) = (this.route.origin.rule, other.route.origin.rule);
    findings
        .error(
            this.resource,
            format!("spec.rules[{a}]"),
            Code::POLICY_OVERLAP,
            message,
        )
        .related(other.resource, &format!("spec.rules[{b}]"))
        .help("put the rules into one route, or make their matches differ");
    reported.push(pair);
}

fn same_port(a: Option<u16>, b: Option<u16>) -> bool {
    a.is_none() || b.is_none() || a == b
}

fn keys(route: &Route) -> Vec<Key> {
    let hosts: Vec<Option<String>> = match route.hostnames() {
        [] => vec![None],
        hosts => hosts.iter().map(Hostname::to_string).map(Some).collect(),
    };
    let mut out = Vec::new();
    for m in route.matches() {
        let (path, rest) = key(m);
        for host in &hosts {
            let key = (host.clone(), path.clone(), rest.clone());
            if !out.contains(&key) {
                out.push(key);
            }
        }
    }
    out
}

fn key(m: &RouteMatch) -> (String, String) {
    let path = match m.path() {
        // The prefix `/` says nothing.
        None => "prefix ".to_owned(),
        Some(PathMatch::Prefix(text)) => format!("prefix {text}"),
        Some(PathMatch::Exact(text)) => format!("exact {text}"),
        Some(PathMatch::Regex(pattern)) => format!("regex {}", pattern.as_str()),
    };
    let value = |v: &ValueMatch| match v {
        ValueMatch::Exact(text) => format!("={text:?}"),
        ValueMatch::Regex(pattern) => format!("~{:?}", pattern.as_str()),
    };
    let mut parts: Vec<String> = Vec::new();
    parts.extend(
        m.headers()
            .iter()
            .map(|h| format!("h {}{}", h.name(), value(h.value()))),
    );
    parts.extend(
        m.query()
            .iter()
            .map(|q| format!("q {}{}", q.name(), value(q.value()))),
    );
    parts.sort();
    let method = m.method().map(ToString::to_string).unwrap_or_default();
    (
        path,
        format!("{} {method} {}", m.is_grpc(), parts.join(" ")),
    )
}
