//! The short form, rewritten to the long one tree to tree: each node keeps its place.

use super::decoder::{Decoder, allowed};
use super::{Entry, Node, Pos, Value};
use crate::error::Code;
use crate::name::ServiceTarget;
use crate::policy::spec::Kind;

pub(super) const SHORT: &[&str] = &[
    "service",
    "ports",
    "endpoints",
    "subsetOf",
    "selector",
    "subsetFallback",
    "route",
    "grpcRoute",
    "backend",
    "access",
    "transport",
    "traffic",
];
const RULE: &[&str] = &[
    "name",
    "matches",
    "filters",
    "backends",
    "backendRefs",
    "timeout",
    "attemptTimeout",
    "retry",
    "session",
    "sessionPersistence",
    "mirror",
    "fault",
    "respond",
    "sticky",
    "trailers",
];
/// The fields of a rule that name a resource or hold it, with its kind; in this order behind the
/// other filters.
pub(super) const EXTENSIONS: [(&str, Kind); 4] = [
    ("fault", Kind::Fault),
    ("respond", Kind::DirectResponse),
    ("sticky", Kind::StickySplit),
    ("trailers", Kind::TrailerEdit),
];
const ALLOW: &[&str] = &["from", "to", "methods", "paths", "grpc"];

const GATEWAY: &str = "gateway.networking.k8s.io/v1";
const MESH: &str = "policy.mesh/v1alpha1";

/// The fields of a document and of a rule in short form.
#[cfg(test)]
pub(crate) fn short_fields() -> (&'static [&'static str], &'static [&'static str]) {
    (SHORT, RULE)
}

/// Whether a document is in the short form.
pub(super) fn is_short(node: &Node) -> bool {
    node.entry("service").is_some() && node.entry("kind").is_none()
}

/// The resources of a document in short form.
pub(super) fn expand(node: &Node, namespace: &str, cx: &mut Decoder) -> Vec<Node> {
    let Some(entries) = cx.mapping(node, SHORT) else {
        return Vec::new();
    };
    let Some(service) = node.entry("service") else {
        return Vec::new();
    };
    let pos = service.key_pos;
    let Some(text) = cx.at("service", |cx| cx.string(&service.value)) else {
        return Vec::new();
    };
    let target = match ServiceTarget::parse(&text, namespace) {
        Ok(target) => target,
        Err(error) => {
            cx.at("service", |cx| {
                cx.note(Code::POLICY_NAME, service.value.pos, error.to_string());
            });
            return Vec::new();
        }
    };
    let at = service.value.pos;
    let name = || Node::text(target.service.name(), at);
    let named = |name: Node, api: &str, kind: &str, at: Pos, spec: Node| {
        let namespace = Node::text(target.service.namespace(), pos);
        let metadata = Node::map(pos, [("name", name), ("namespace", namespace)]);
        Node::map(
            at,
            [
                ("apiVersion", Node::text(api, at)),
                ("kind", Node::text(kind, at)),
                ("metadata", metadata),
                ("spec", spec),
            ],
        )
    };
    let resource = |api: &str, kind: &str, at: Pos, spec: Node| named(name(), api, kind, at, spec);
    let mut out = Vec::new();

    let own = [
        "ports",
        "endpoints",
        "subsetOf",
        "selector",
        "subsetFallback",
    ];
    let own: Vec<Entry> = entries
        .iter()
        .filter(|e| own.contains(&e.key.as_str()))
        .cloned()
        .collect();
    if !own.is_empty() {
        let spec = Node::new(Value::Map(own), pos);
        out.push(resource("v1", "Service", pos, spec));
    }
    for (key, kind) in [("route", "HTTPRoute"), ("grpcRoute", "GRPCRoute")] {
        let Some(entry) = node.entry(key) else {
            continue;
        };
        let context = Context {
            service: target.service.name(),
            key,
            port: target.port,
            at,
        };
        let mut held = Vec::new();
        let rules = cx.at(key, |cx| rules(&entry.value, &context, &mut held, cx));
        for (name, kind, spec) in held {
            let at = spec.pos;
            out.push(named(Node::text(name, at), MESH, kind, at, spec));
        }
        let mut parent = vec![
            Entry::new("group", at, Node::text("", at)),
            Entry::new("kind", at, Node::text("Service", at)),
            Entry::new("name", at, name()),
        ];
        if let Some(port) = target.port {
            let port = Node::new(Value::Int(port.into()), at);
            parent.push(Entry::new("port", at, port));
        }
        let parents = Node::seq(at, vec![Node::new(Value::Map(parent), at)]);
        let spec = Node::map(entry.key_pos, [("parentRefs", parents), ("rules", rules)]);
        out.push(resource(GATEWAY, kind, entry.key_pos, spec));
    }
    for (key, kind) in [
        ("backend", "BackendPolicy"),
        ("access", "AccessPolicy"),
        ("transport", "TransportPolicy"),
        ("traffic", "TrafficPolicy"),
    ] {
        let Some(entry) = node.entry(key) else {
            continue;
        };
        let Value::Map(fields) = &entry.value.value else {
            cx.at(key, |cx| cx.mapping(&entry.value, &[]).map(|_| ()));
            continue;
        };
        let target = Node::map(at, [("kind", Node::text("Service", at)), ("name", name())]);
        let mut spec = vec![Entry::new("targetRefs", at, Node::seq(at, vec![target]))];
        for field in fields {
            let mut field = field.clone();
            if key == "access" && field.key == "allow" {
                field.value = cx.at("access.allow", |cx| allow(&field.value, cx));
            }
            if key == "traffic" {
                field.value = peers(&field.value);
            }
            spec.push(field);
        }
        let spec = Node::new(Value::Map(spec), entry.value.pos);
        out.push(resource(MESH, kind, entry.key_pos, spec));
    }
    out
}

/// Where a list of rules stands.
struct Context<'a> {
    service: &'a str,
    key: &'a str,
    port: Option<u16>,
    at: Pos,
}

/// The name of what a rule holds itself.
pub(super) fn held_name(service: &str, key: &str, rule: usize) -> String {
    match key {
        "grpcRoute" => format!("{service}-g{rule}"),
        _ => format!("{service}-{rule}"),
    }
}

/// Rules in long form; `held` gets the resources that they hold: name, kind, spec.
fn rules(
    node: &Node,
    context: &Context<'_>,
    held: &mut Vec<(String, &'static str, Node)>,
    cx: &mut Decoder,
) -> Node {
    each(node, cx, |n, rule, entries, cx| {
        let mut out = Vec::new();
        let mut timeouts = Vec::new();
        for entry in entries {
            let mut put = |key: &str, value: Node| out.push(Entry::new(key, entry.key_pos, value));
            match entry.key.as_str() {
                "timeout" => {
                    timeouts.push(Entry::new("request", entry.key_pos, entry.value.clone()));
                }
                "attemptTimeout" => {
                    let value = entry.value.clone();
                    timeouts.push(Entry::new("backendRequest", entry.key_pos, value));
                }
                "backends" => {
                    if rule.entry("backendRefs").is_some() {
                        let message = "`backends` and `backendRefs` are two ways to say one thing";
                        cx.note(Code::POLICY_DUPLICATE_KEY, entry.key_pos, message);
                    } else if let Some(refs) = backends(entry, context, cx) {
                        put("backendRefs", refs);
                    }
                }
                "session" => {
                    if rule.entry("sessionPersistence").is_some() {
                        let message =
                            "`session` and `sessionPersistence` are two ways to say one thing";
                        cx.note(Code::POLICY_DUPLICATE_KEY, entry.key_pos, message);
                    } else {
                        put("sessionPersistence", entry.value.clone());
                    }
                }
                "filters" | "mirror" | "fault" | "respond" | "sticky" | "trailers" => {}
                key => put(key, entry.value.clone()),
            }
        }
        if let Some(filters) = filters(n, entries, context, held, cx) {
            out.push(filters);
        }
        if let Some(first) = timeouts.first() {
            let pos = first.key_pos;
            let timeouts = Node::new(Value::Map(timeouts), pos);
            out.push(Entry::new("timeouts", pos, timeouts));
        }
        Node::new(Value::Map(out), rule.pos)
    })
}

/// `filters`, and behind them what the short form has words of its own for.
fn filters(
    n: usize,
    entries: &[Entry],
    context: &Context<'_>,
    held: &mut Vec<(String, &'static str, Node)>,
    cx: &mut Decoder,
) -> Option<Entry> {
    let entry = |key: &str| entries.iter().find(|e| e.key == key);
    let given = entry("filters");
    let mut list = match given.map(|e| &e.value.value) {
        Some(Value::Seq(items)) => items.clone(),
        // Not a list: the decoder says so.
        Some(_) => return given.cloned(),
        None => Vec::new(),
    };
    let before = list.len();
    if let Some(mirror) = entry("mirror") {
        for (entry, reference) in targets("mirror", mirror, context, cx).unwrap_or_default() {
            let pos = entry.key_pos;
            let reference = Node::new(Value::Map(reference), pos);
            let settings = [("backendRef", reference), ("percent", entry.value.clone())];
            let fields = [
                ("type", Node::text("RequestMirror", pos)),
                ("requestMirror", Node::map(pos, settings)),
            ];
            list.push(Node::map(pos, fields));
        }
    }
    for (key, kind) in EXTENSIONS {
        let Some(entry) = entry(key) else { continue };
        let pos = entry.value.pos;
        let name = match &entry.value.value {
            Value::Str(name) => name.clone(),
            _ => {
                let spec = match (&entry.value.value, key) {
                    (Value::Map(_), "sticky") => Node::seq(pos, vec![entry.value.clone()]),
                    _ => entry.value.clone(),
                };
                let spec = match key {
                    "sticky" => Node::map(pos, [("hashOn", spec)]),
                    _ => spec,
                };
                let name = held_name(context.service, context.key, n);
                held.push((name.clone(), kind.as_str(), spec));
                name
            }
        };
        let to = [
            ("group", Node::text("policy.mesh", pos)),
            ("kind", Node::text(kind.as_str(), pos)),
            ("name", Node::text(name, pos)),
        ];
        let fields = [
            ("type", Node::text("ExtensionRef", pos)),
            ("extensionRef", Node::map(pos, to)),
        ];
        list.push(Node::map(entry.key_pos, fields));
    }
    let pos = match given {
        Some(given) => given.key_pos,
        None if list.len() == before => return None,
        None => list[0].pos,
    };
    Some(Entry::new("filters", pos, Node::seq(pos, list)))
}

/// `{ reviews-v1: 90, reviews-v2:9090: 10 }`: names with numbers; a port behind the name replaces
/// that of the service. Each entry comes with the fields of its reference.
fn targets<'e>(
    key: &str,
    entry: &'e Entry,
    context: &Context<'_>,
    cx: &mut Decoder,
) -> Option<Vec<(&'e Entry, Vec<Entry>)>> {
    let Value::Map(entries) = &entry.value.value else {
        cx.at(key, |cx| {
            let (what, such) = match key {
                "mirror" => ("percentages", "{ reviews-v2: 10 }"),
                _ => ("weights", "{ reviews-v1: 90, reviews-v2: 10 }"),
            };
            let message = format!(
                "expected names with {what}, found {}",
                entry.value.describe()
            );
            let hint = Some(format!("such as {such}"));
            cx.note_with(Code::POLICY_WRONG_TYPE, entry.value.pos, message, hint);
        });
        return None;
    };
    cx.at(key, |cx| cx.duplicates(entries));
    let targets = entries.iter().map(|backend| {
        let (name, own) = match backend.key.rsplit_once(':') {
            Some((name, digits)) => match digits.parse::<u16>() {
                Ok(port) => (name, Some(port)),
                Err(_) => (backend.key.as_str(), None),
            },
            None => (backend.key.as_str(), None),
        };
        let pos = backend.key_pos;
        let mut fields = vec![Entry::new("name", pos, Node::text(name, pos))];
        if let Some(number) = own.or(context.port) {
            let pos = if own.is_some() { pos } else { context.at };
            let value = Node::new(Value::Int(number.into()), pos);
            fields.push(Entry::new("port", pos, value));
        }
        (backend, fields)
    });
    Some(targets.collect())
}

fn backends(entry: &Entry, context: &Context<'_>, cx: &mut Decoder) -> Option<Node> {
    let refs = targets("backends", entry, context, cx)?.into_iter();
    let refs = refs.map(|(backend, mut fields)| {
        fields.push(Entry::new("weight", backend.key_pos, backend.value.clone()));
        Node::new(Value::Map(fields), backend.key_pos)
    });
    Some(Node::seq(entry.value.pos, refs.collect()))
}

/// Callers in the short spelling, wherever `from` stands.
fn peers(node: &Node) -> Node {
    let value = match &node.value {
        Value::Map(entries) => Value::Map(
            entries
                .iter()
                .map(|entry| {
                    let value = match entry.key.as_str() {
                        "from" => from(&entry.value),
                        _ => peers(&entry.value),
                    };
                    Entry::new(&entry.key, entry.key_pos, value)
                })
                .collect(),
        ),
        Value::Seq(items) => Value::Seq(items.iter().map(peers).collect()),
        other => other.clone(),
    };
    Node::new(value, node.pos)
}

fn allow(node: &Node, cx: &mut Decoder) -> Node {
    let inline = |key: &str| matches!(key, "methods" | "paths" | "grpc");
    each_of(node, ALLOW, cx, |_, rule, entries, cx| {
        let mut out = Vec::new();
        let request: Vec<Entry> = entries.iter().filter(|e| inline(&e.key)).cloned().collect();
        for entry in entries.iter().filter(|e| !inline(&e.key)) {
            let mut entry = entry.clone();
            if entry.key == "from" {
                entry.value = from(&entry.value);
            }
            if entry.key == "to" && !request.is_empty() {
                let message = "`to` cannot stand beside `methods`, `paths` or `grpc`";
                cx.note(Code::POLICY_DUPLICATE_KEY, entry.key_pos, message);
            }
            out.push(entry);
        }
        if let Some(first) = request.first()
            && rule.entry("to").is_none()
        {
            let pos = first.key_pos;
            let to = Node::seq(pos, vec![Node::new(Value::Map(request), pos)]);
            out.push(Entry::new("to", pos, to));
        }
        Node::new(Value::Map(out), rule.pos)
    })
}

/// `web` and `[web, batch]` are services.
fn from(node: &Node) -> Node {
    let service = |node: &Node| match &node.value {
        Value::Str(_) => Node::map(node.pos, [("service", node.clone())]),
        _ => node.clone(),
    };
    match &node.value {
        Value::Str(_) => Node::seq(node.pos, vec![service(node)]),
        Value::Seq(items) => Node::seq(node.pos, items.iter().map(service).collect()),
        _ => node.clone(),
    }
}

fn each(
    node: &Node,
    cx: &mut Decoder,
    f: impl FnMut(usize, &Node, &[Entry], &mut Decoder) -> Node,
) -> Node {
    each_of(node, RULE, cx, f)
}

/// Rewrites each mapping of a list; what is not one is left for the decoder to complain about.
fn each_of(
    node: &Node,
    fields: &[&str],
    cx: &mut Decoder,
    mut f: impl FnMut(usize, &Node, &[Entry], &mut Decoder) -> Node,
) -> Node {
    let Value::Seq(items) = &node.value else {
        return node.clone();
    };
    let items = items.iter().enumerate().map(|(n, item)| {
        let Value::Map(entries) = &item.value else {
            return item.clone();
        };
        cx.at(&format!("[{n}]"), |cx| {
            // Known fields go on; unknown ones are noted here, with the words of the short form.
            let mut known: Vec<Entry> = Vec::new();
            for entry in entries {
                if fields.contains(&entry.key.as_str()) {
                    known.push(entry.clone());
                    continue;
                }
                let hint = allowed(&entry.key, fields);
                let message = format!("unknown field `{}`", entry.key);
                cx.at(&entry.key, |cx| {
                    cx.note_with(Code::POLICY_UNKNOWN_FIELD, entry.key_pos, message, hint);
                });
            }
            f(n, item, &known, cx)
        })
    });
    Node::seq(node.pos, items.collect())
}
