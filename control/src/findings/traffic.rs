//! Calls that are denied, and edges that lose calls.

use std::collections::BTreeSet;

use mesh_grpc::pb::control as pb;

use super::finding::{error, host, ok};
use super::{FEW_CALLS, Observed};
use crate::cli::table::share;

const DENIED_CODE: &str = "M4001";

pub(super) fn denied(seen: &Observed, found: &mut Vec<pb::Finding>) {
    let mut told = BTreeSet::new();
    for sum in &seen.denied {
        let from = crate::server::state::service_of_id(&sum.from)
            .map_or_else(|| sum.from.clone(), |service| service.to_string());
        told.insert((from.clone(), sum.service.clone()));
        found.push(error(
            "M5006",
            &format!("{from} -> {}", sum.service),
            format!(
                "{} of {} calls in 10s denied by policy [{DENIED_CODE}]",
                sum.denied, sum.calls
            ),
            &format!(
                "allow {from} in an AccessPolicy of {}, or stop the caller",
                sum.service
            ),
        ));
    }
    for (from, edge) in &seen.edges {
        let count = edge.codes.get(DENIED_CODE).copied().unwrap_or(0);
        if count > 0 && !told.contains(&(from.clone(), edge.to.clone())) {
            found.push(error(
                "M5006",
                &format!("{from} -> {}", edge.to),
                format!(
                    "{count} of {} calls in 10s denied by policy [{DENIED_CODE}]",
                    edge.calls
                ),
                &format!(
                    "allow {from} in an AccessPolicy of {}, or stop the caller",
                    edge.to
                ),
            ));
        }
    }
}

/// Edges that lose calls for a reason that no other finding has told.
pub(super) fn failing(seen: &Observed, found: &mut Vec<pb::Finding>) {
    let told: BTreeSet<String> = found
        .iter()
        .filter(|finding| finding.severity() != pb::Severity::Ok)
        .map(|finding| finding.subject.clone())
        .collect();
    let (mut calls, mut failures) = (0_u64, 0_u64);
    let before = found.len();
    for (from, edge) in &seen.edges {
        calls += edge.calls;
        failures += edge.failures;
        let subject = format!("{from} -> {}", edge.to);
        let failing = edge.calls >= FEW_CALLS && edge.failures * 100 > edge.calls;
        if !failing || told.contains(&subject) {
            continue;
        }
        let top = edge.codes.iter().max_by_key(|(_, count)| **count);
        let top = top.map(|(code, _)| code.as_str()).unwrap_or_default();
        let code = if top.starts_with('M') { top } else { "M5005" };
        let text = format!(
            "{} of {} calls in 10s failed, mostly {top}",
            share(edge.failures, edge.calls, 1),
            edge.calls
        );
        let next = format!(
            "meshctl stat --to {0}; meshctl endpoints {0}",
            host(&edge.to)
        );
        found.push(error(code, &subject, text, &next));
    }
    let plaintext: u64 = seen.plaintext.iter().map(|(_, count)| count).sum();
    let mut text = match calls {
        0 => "no calls in the last 10s".to_owned(),
        _ => format!(
            "{} of {calls} calls in 10s succeeded",
            share(calls - failures.min(calls), calls, 2)
        ),
    };
    if plaintext > 0 {
        text.push_str(&format!(", {plaintext} plaintext connections"));
    }
    if found.len() == before {
        found.push(ok("traffic", text));
    }
}
