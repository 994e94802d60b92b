//! What `meshctl` and the page ask, answered from what the server knows.

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime};

use mesh_core::name::ServiceName;
use mesh_grpc::pb::control as pb;

use super::exceptions::{exceptions, strict};
use super::splits::{Labels, splits};
use super::state::Shared;
use crate::events;
use crate::findings::{self, Client, Gone, Observed};
use crate::report::Span;

/// Calls by edge.
pub(crate) fn stat(shared: &Shared, ask: &pb::StatRequest, span: Span) -> pb::StatResponse {
    let now = Instant::now();
    let (edges, views, window) = {
        let reports = shared.reports();
        let window = reports.covered(span, now);
        (
            reports.edges(span, now),
            reports.endpoints(None, now),
            window,
        )
    };
    let rows = edges
        .into_iter()
        .filter(|(from, edge)| matches(&ask.from, from) && matches(&ask.to, &edge.to))
        .map(|(from, edge)| {
            let mut seen: BTreeMap<&str, bool> = BTreeMap::new();
            for view in views
                .iter()
                .filter(|v| v.from == from && v.report.service == edge.to)
            {
                let out = view.report.state() == pb::EndpointHealth::Ejected;
                *seen.entry(&view.report.addr).or_default() |= out;
            }
            pb::StatRow {
                endpoints: count(seen.len()),
                ejected: count(seen.values().filter(|out| **out).count()),
                from,
                edge: Some(edge),
            }
        })
        .collect();
    pb::StatResponse {
        rows,
        window_seconds: u32::try_from(window.as_secs()).unwrap_or(u32::MAX),
    }
}

/// Live endpoints, and those that clients use without a lease (static and DNS ones).
pub(crate) fn endpoints(shared: &Shared, wanted: &str) -> pb::EndpointsResponse {
    let now = Instant::now();
    let mut rows: BTreeMap<(String, String), pb::EndpointRow> = BTreeMap::new();
    shared.read_registry(|registry| {
        for service in registry
            .services()
            .filter(|name| matches(wanted, &name.to_string()))
        {
            for row in registry.instances(service, now) {
                let key = (service.to_string(), row.instance.addr.to_string());
                let instance = row.instance.clone();
                let left = row.left.as_secs() + u64::from(row.left.subsec_nanos() > 0);
                let row = pb::EndpointRow {
                    service: key.0.clone(),
                    addr: key.1.clone(),
                    identity: instance.identity,
                    labels: instance.labels.into_iter().collect(),
                    zone: instance.zone,
                    weight: instance.weight,
                    instance: instance.instance,
                    lease_left_seconds: u32::try_from(left).unwrap_or(u32::MAX),
                    views: Vec::new(),
                };
                rows.insert(key, row);
            }
        }
    });
    for view in shared.reports().endpoints(None, now) {
        let service = view.report.service.clone();
        // Seen through a subset or an alias, it is still the same address.
        let known = rows
            .iter_mut()
            .find(|((_, addr), _)| *addr == view.report.addr);
        let row = match known {
            Some((_, row)) => row,
            None if matches(wanted, &service) => {
                let addr = view.report.addr.clone();
                let row = pb::EndpointRow {
                    service: service.clone(),
                    addr: addr.clone(),
                    ..Default::default()
                };
                rows.entry((service, addr)).or_insert(row)
            }
            None => continue,
        };
        row.views.push(pb::EndpointView {
            from: view.from,
            instance: view.instance,
            report: Some(view.report),
        });
    }
    pb::EndpointsResponse {
        rows: rows.into_values().collect(),
    }
}

/// Who is connected.
pub(crate) fn clients(shared: &Shared, wanted: &str) -> pb::ClientsResponse {
    let states = shared.clients(Instant::now());
    let mut rows: Vec<_> = states
        .into_iter()
        .filter(|state| matches(wanted, &state.service))
        .map(|state| {
            let connection = state.view.connection;
            let types = connection.types.into_iter().map(|each| pb::ClientType {
                type_url: each.type_url.to_string(),
                acked_version: each
                    .acked_revision
                    .as_deref()
                    .unwrap_or_default()
                    .to_owned(),
                nack_error: each.nack.as_deref().unwrap_or_default().to_owned(),
                subscribed: count(each.subscribed),
                held: count(each.held.len()),
            });
            pb::ClientRow {
                types: types.collect(),
                service: state.service,
                instance: state.instance,
                addr: state
                    .view
                    .peer
                    .addr
                    .map(|addr| addr.to_string())
                    .unwrap_or_default(),
                identity: state.view.peer.identity.unwrap_or_default(),
                connected_since_unix: events::unix_seconds(state.view.since),
                revision: connection
                    .revision
                    .as_deref()
                    .unwrap_or_default()
                    .to_owned(),
                behind: connection.behind,
                resources_sent: connection.resources_sent,
            }
        })
        .collect();
    rows.sort_by(|a, b| (&a.service, &a.instance).cmp(&(&b.service, &b.instance)));
    pb::ClientsResponse {
        rows,
        revision: shared.current().revision.to_string(),
    }
}

/// Health of everything.
pub(crate) fn check(shared: &Shared) -> Vec<pb::Finding> {
    let now = Instant::now();
    let current = shared.current();
    let refused = shared.policy().refused().cloned();
    let clients = shared.clients(now).into_iter().map(|state| {
        let connection = &state.view.connection;
        let nacks = connection
            .types
            .iter()
            .filter_map(|each| each.nack.as_deref());
        Client {
            name: format!("{} {}", state.service, state.instance)
                .trim_end()
                .to_owned(),
            nacks: nacks.map(str::to_owned).collect(),
            revision: connection
                .revision
                .as_deref()
                .unwrap_or("(none)")
                .to_owned(),
            behind_for: state.behind_for,
        }
    });
    let clients = clients.collect();
    let (instances, orphans, lost, labels) = shared.read_registry(|registry| {
        let gone = |instance: &crate::registry::Instance, time| Gone {
            service: instance.service.to_string(),
            addr: instance.addr.to_string(),
            instance: instance.instance.clone(),
            time,
        };
        let rows = registry
            .services()
            .flat_map(|name| registry.instances(name, now));
        let orphans = rows
            .filter(|row| row.orphan)
            .map(|row| gone(row.instance, row.left));
        let lost = registry
            .lost()
            .map(|lost| gone(&lost.instance, now.saturating_duration_since(lost.at)));
        let labels: Labels = registry
            .services()
            .flat_map(|name| registry.instances(name, now))
            .map(|row| {
                let instance = row.instance;
                let key = (instance.service.to_string(), instance.instance.clone());
                (key, instance.labels.clone())
            })
            .collect();
        (registry.len(), orphans.collect(), lost.collect(), labels)
    });
    let reports = shared.reports();
    let strangers = reports.strangers(now);
    let seen = Observed {
        revision: current.revision.to_string(),
        resources: current.resources.len(),
        warnings: current.warnings,
        refused,
        clients,
        instances,
        orphans,
        lost,
        endpoints: reports.endpoints(None, now),
        edges: reports.edges(Span::Short, now),
        denied: reports.denied(now),
        plaintext: reports.plaintext(now),
        exceptions: exceptions(&current.snapshot, &strangers),
        strict: strict(&current.snapshot, &strangers),
        strangers,
        splits: splits(&current.snapshot, &labels, &reports.routed(now)),
        certificates: reports.certificates(),
        leaf_ttl: shared.leaf_ttl,
        now_unix: events::unix_seconds(SystemTime::now()),
    };
    drop(reports);
    findings::findings(&seen)
}

/// Whether a service is the one asked for: nothing asks for all, a bare name for that name in any
/// namespace.
fn matches(wanted: &str, service: &str) -> bool {
    if wanted.is_empty() || wanted == service {
        return true;
    }
    if wanted.contains(['/', '.']) {
        return wanted
            .parse::<ServiceName>()
            .is_ok_and(|name| name.to_string() == service);
    }
    service
        .split_once('/')
        .is_some_and(|(_, name)| name == wanted)
}

pub(super) fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_service_is_found_by_any_spelling() {
        for wanted in [
            "",
            "reviews",
            "shop/reviews",
            "reviews.shop",
            "reviews.shop.svc",
        ] {
            assert!(matches(wanted, "shop/reviews"), "{wanted}");
        }
        for wanted in ["shop", "other/reviews", "reviews.other", "review"] {
            assert!(!matches(wanted, "shop/reviews"), "{wanted}");
        }
    }
}
