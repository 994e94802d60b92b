//! Endpoints that fail or are slow against their peers.

use std::collections::{BTreeMap, BTreeSet};

use mesh_grpc::pb::control as pb;

use super::finding::{error, host, ok};
use super::{FEW_CALLS, Observed};
use crate::cli::table::{micros, share};

/// An endpoint fails when more than this share of its calls does (in percent), and more than twice
/// the share of its peers.
const FAILING_PERCENT: u64 = 5;
/// An endpoint is slow when its latency is above this many times the median of its peers.
const SLOW_FACTOR: u64 = 4;
/// What is below is not worth calling slow.
const SLOW_FLOOR_US: u64 = 20_000;

/// What all clients together know of one endpoint.
#[derive(Debug, Default)]
struct Seen {
    calls: u64,
    failures: u64,
    latency_us: u64,
    clients: usize,
    ejected: usize,
    unreachable: usize,
    reason: String,
    last_code: String,
}

pub(super) fn outliers(seen: &Observed, faulty: &BTreeSet<String>, found: &mut Vec<pb::Finding>) {
    let mut services: BTreeMap<&str, BTreeMap<&str, Seen>> = BTreeMap::new();
    for view in &seen.endpoints {
        let report = &view.report;
        let all = services
            .entry(&report.service)
            .or_default()
            .entry(&report.addr)
            .or_default();
        all.calls += report.calls;
        all.failures += report.failures;
        if report.calls > 0 {
            all.latency_us = all.latency_us.max(report.ewma_us);
        }
        all.clients += 1;
        all.ejected += usize::from(matches!(
            report.state(),
            pb::EndpointHealth::Ejected | pb::EndpointHealth::Unhealthy
        ));
        all.unreachable += usize::from(report.state() == pb::EndpointHealth::Unreachable);
        if !report.reason.is_empty() {
            all.reason.clone_from(&report.reason);
        }
        if !report.last_code.is_empty() {
            all.last_code.clone_from(&report.last_code);
        }
    }
    let gone: BTreeSet<&str> = seen
        .lost
        .iter()
        .chain(&seen.orphans)
        .map(|gone| gone.addr.as_str())
        .collect();
    let before = found.len();
    for (service, all) in &services {
        for (addr, this) in all {
            if faulty.contains(*addr) || gone.contains(addr) {
                continue;
            }
            let peers: Vec<&Seen> = all
                .iter()
                .filter(|(other, _)| *other != addr)
                .map(|(_, seen)| seen)
                .collect();
            if let Some(text) = fault(this, &peers) {
                let next = format!(
                    "meshctl endpoints {}; look at the log of {addr}",
                    host(service)
                );
                found.push(error("M5005", &format!("{service} {addr}"), text, &next));
            }
        }
    }
    if found.len() == before {
        let count: usize = services.values().map(BTreeMap::len).sum();
        found.push(ok(
            "endpoints",
            format!("{count} in use, none failing or slow"),
        ));
    }
}

/// Why an endpoint stands out from its peers.
fn fault(this: &Seen, peers: &[&Seen]) -> Option<String> {
    let because = [&this.reason, &this.last_code]
        .into_iter()
        .find(|text| !text.is_empty())
        .map(|text| format!(": {text}"))
        .unwrap_or_default();
    let calls: u64 = peers.iter().map(|peer| peer.calls).sum();
    let failures: u64 = peers.iter().map(|peer| peer.failures).sum();
    let percent = |part: u64, whole: u64| part.saturating_mul(100).checked_div(whole).unwrap_or(0);
    let own = percent(this.failures, this.calls);
    if this.ejected > 0 {
        return Some(format!(
            "ejected by {} of {} clients{because}",
            this.ejected, this.clients
        ));
    }
    if this.unreachable > 0 {
        let (some, all) = (this.unreachable, this.clients);
        return Some(format!(
            "{some} of {all} clients cannot connect to it{because}"
        ));
    }
    if this.calls >= FEW_CALLS
        && own >= FAILING_PERCENT
        && own > percent(failures, calls).saturating_mul(2)
    {
        return Some(format!(
            "{} of {} calls in 10s failed, of its peers' {}{because}",
            share(this.failures, this.calls, 0),
            this.calls,
            share(failures, calls, 0)
        ));
    }
    let mut latencies: Vec<u64> = peers
        .iter()
        .map(|peer| peer.latency_us)
        .filter(|us| *us > 0)
        .collect();
    latencies.sort_unstable();
    let median = *latencies.get(latencies.len().checked_sub(1)? / 2)?;
    if this.latency_us > SLOW_FLOOR_US && this.latency_us > median.saturating_mul(SLOW_FACTOR) {
        let (own, peers) = (micros(this.latency_us), micros(median));
        // The estimate counts a failure as seconds: it may be high without a slow answer.
        return Some(if this.last_code.is_empty() {
            format!("slow: answers in about {own}, its peers in {peers}")
        } else {
            format!(
                "slow, or failing now and then{because}: balancers count it as {own}, its peers as {peers}"
            )
        });
    }
    None
}
