//! What `meshctl check` says: each finding names the fault, its code and the next step.
//!
//! A pure function of what was observed ([`Observed`]), so that each rule is a test.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mesh_grpc::pb::control as pb;

use crate::cli::table::{micros, share, span};
use crate::report::{DeniedSum, EndpointSum};
use crate::store::Refused;

/// A client may take so long to confirm an update before it is told about.
const BEHIND_AFTER: Duration = Duration::from_secs(5);
/// Fewest calls for which a share means something.
const FEW_CALLS: u64 = 10;
/// An endpoint fails when more than this share of its calls does (in percent), and more than twice
/// the share of its peers.
const FAILING_PERCENT: u64 = 5;
/// An endpoint is slow when its latency is above this many times the median of its peers.
const SLOW_FACTOR: u64 = 4;
/// What is below is not worth calling slow.
const SLOW_FLOOR_US: u64 = 20_000;
/// Codes that say that a certificate was refused.
const CERTIFICATE_CODES: [&str; 3] = ["M4002", "M4003", "M4004"];
const DENIED_CODE: &str = "M4001";

/// Everything that is looked at.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    pub(crate) revision: String,
    pub(crate) resources: usize,
    pub(crate) warnings: usize,
    pub(crate) refused: Option<Refused>,
    pub(crate) clients: Vec<Client>,
    pub(crate) instances: usize,
    pub(crate) orphans: Vec<Gone>,
    pub(crate) lost: Vec<Gone>,
    pub(crate) endpoints: Vec<EndpointSum>,
    pub(crate) edges: Vec<(String, pb::EdgeReport)>,
    pub(crate) denied: Vec<DeniedSum>,
    pub(crate) plaintext: Vec<(String, u64)>,
    /// Service, process, end of validity in seconds since 1970.
    pub(crate) certificates: Vec<(String, String, i64)>,
    pub(crate) leaf_ttl: Duration,
    pub(crate) now_unix: i64,
}

/// One subscribed process.
#[derive(Debug, Default)]
pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) nacks: Vec<String>,
    pub(crate) revision: String,
    pub(crate) behind_for: Option<Duration>,
}

/// An instance whose stream or lease has ended.
#[derive(Debug, Default)]
pub(crate) struct Gone {
    pub(crate) service: String,
    pub(crate) addr: String,
    pub(crate) instance: String,
    /// Since the lease ended; for an orphan, until it ends.
    pub(crate) time: Duration,
}

/// All findings, worst first; what is well comes last.
pub(crate) fn findings(seen: &Observed) -> Vec<pb::Finding> {
    let mut found = Vec::new();
    policy(seen, &mut found);
    clients(seen, &mut found);
    registry(seen, &mut found);
    certificates(seen, &mut found);
    let faulty = refused_certificates(seen, &mut found);
    denied(seen, &mut found);
    endpoints(seen, &faulty, &mut found);
    traffic(seen, &mut found);
    found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    found
}

fn policy(seen: &Observed, found: &mut Vec<pb::Finding>) {
    match &seen.refused {
        Some(refused) => found.push(error(
            &refused.code,
            "policy directory",
            format!(
                "{} errors, revision {} stays in force; first: {}",
                refused.errors, seen.revision, refused.first
            ),
            "correct the file; meshctl policy check FILE shows every error",
        )),
        None => found.push(ok(
            "policy",
            format!(
                "revision {}, {} resources, {} warnings",
                seen.revision, seen.resources, seen.warnings
            ),
        )),
    }
}

fn clients(seen: &Observed, found: &mut Vec<pb::Finding>) {
    let before = found.len();
    for client in &seen.clients {
        for nack in &client.nacks {
            found.push(error(
                "M5002",
                &client.name,
                format!(
                    "refused an update and runs revision {}: {nack}",
                    client.revision
                ),
                "meshctl clients; update the client or take the change back",
            ));
        }
        let late = client.behind_for.filter(|time| *time > BEHIND_AFTER);
        if let (Some(time), true) = (late, client.nacks.is_empty()) {
            found.push(warning(
                "M5004",
                &client.name,
                format!(
                    "has not confirmed the current revision for {}",
                    seconds(time)
                ),
                "look at the process's log; it may be stuck or its connection slow",
            ));
        }
    }
    if found.len() == before {
        let text = format!(
            "{} connected, all on the current revision",
            seen.clients.len()
        );
        found.push(ok("clients", text));
    }
}

fn registry(seen: &Observed, found: &mut Vec<pb::Finding>) {
    for gone in &seen.lost {
        found.push(error(
            "M5001",
            &format!("{} {}", gone.service, gone.addr),
            format!(
                "instance {} vanished: lease lost {} ago",
                gone.instance,
                seconds(gone.time)
            ),
            &format!(
                "start it again, or look at its log; meshctl endpoints {}",
                host(&gone.service)
            ),
        ));
    }
    for gone in &seen.orphans {
        found.push(warning(
            "M5001",
            &format!("{} {}", gone.service, gone.addr),
            format!(
                "instance {} closed its stream without a word; its lease ends in {}",
                gone.instance,
                seconds(gone.time)
            ),
            &format!("meshctl endpoints {}", host(&gone.service)),
        ));
    }
    if seen.lost.is_empty() && seen.orphans.is_empty() {
        found.push(ok("registry", format!("{} live instances", seen.instances)));
    }
}

/// Renewal is at 70 % of a certificate's life; with less than a fifth left it has failed for long.
fn certificates(seen: &Observed, found: &mut Vec<pb::Finding>) {
    let before = found.len();
    let soon = i64::try_from(seen.leaf_ttl.as_secs() / 5).unwrap_or(i64::MAX);
    for (service, instance, not_after) in &seen.certificates {
        let left = not_after - seen.now_unix;
        let subject = format!("{service} {instance}");
        let next = "look at the process's log for the reason of the failed renewal";
        if left <= 0 {
            found.push(error(
                "M4004",
                &subject,
                "its certificate has expired".to_owned(),
                next,
            ));
        } else if left < soon {
            let left = span(u64::try_from(left).unwrap_or(0));
            let text = format!("its certificate ends in {left} and was not renewed");
            found.push(warning("M4004", &subject, text, next));
        }
    }
    if found.len() == before {
        let text = format!(
            "{} workload certificates, none about to expire",
            seen.certificates.len()
        );
        found.push(ok("identity", text));
    }
}

/// Returns the endpoints at fault, so that they are not told about twice.
fn refused_certificates(seen: &Observed, found: &mut Vec<pb::Finding>) -> BTreeSet<String> {
    let mut faulty: BTreeMap<(String, String), (u64, String)> = BTreeMap::new();
    for view in &seen.endpoints {
        let report = &view.report;
        let by_code = CERTIFICATE_CODES.contains(&report.last_code.as_str()) && report.failures > 0;
        let by_reason = CERTIFICATE_CODES
            .iter()
            .any(|code| report.reason.contains(code))
            && report.state() != pb::EndpointHealth::Available;
        if by_code || by_reason {
            let key = (report.service.clone(), report.addr.clone());
            let entry = faulty.entry(key).or_default();
            entry.0 += report.failures;
            entry.1 = if by_code {
                report.last_code.clone()
            } else {
                report.reason.clone()
            };
        }
    }
    for ((service, addr), (failures, code)) in &faulty {
        found.push(error(
            "M5007",
            &format!("{service} {addr}"),
            format!("its certificate is refused by callers: {failures} attempts in 10s, {code}"),
            &format!(
                "check its identity and clock, let it join again; meshctl endpoints {}",
                host(service)
            ),
        ));
    }
    let services: BTreeSet<&str> = faulty.keys().map(|(service, _)| service.as_str()).collect();
    for (from, edge) in &seen.edges {
        let count: u64 = CERTIFICATE_CODES
            .iter()
            .filter_map(|code| edge.codes.get(*code))
            .sum();
        if count > 0 && !services.contains(edge.to.as_str()) {
            found.push(error(
                "M5007",
                &format!("{from} -> {}", edge.to),
                format!("{count} calls in 10s failed because a certificate was refused"),
                &format!(
                    "meshctl endpoints {}; meshctl explain M4003",
                    host(&edge.to)
                ),
            ));
        }
    }
    faulty.into_keys().map(|(_, addr)| addr).collect()
}

fn denied(seen: &Observed, found: &mut Vec<pb::Finding>) {
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

fn endpoints(seen: &Observed, faulty: &BTreeSet<String>, found: &mut Vec<pb::Finding>) {
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
        all.ejected += usize::from(report.state() == pb::EndpointHealth::Ejected);
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
        return Some(format!(
            "slow: answers in about {own}, its peers in {peers}"
        ));
    }
    None
}

/// Edges that lose calls for a reason that no other finding has told.
fn traffic(seen: &Observed, found: &mut Vec<pb::Finding>) {
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

fn ok(subject: &str, message: String) -> pb::Finding {
    finding(pb::Severity::Ok, "", subject, message, "")
}

fn warning(code: &str, subject: &str, message: String, next: &str) -> pb::Finding {
    finding(pb::Severity::Warning, code, subject, message, next)
}

fn error(code: &str, subject: &str, message: String, next: &str) -> pb::Finding {
    finding(pb::Severity::Error, code, subject, message, next)
}

fn finding(
    severity: pb::Severity,
    code: &str,
    subject: &str,
    message: String,
    next: &str,
) -> pb::Finding {
    pb::Finding {
        code: code.to_owned(),
        subject: subject.to_owned(),
        message,
        next: next.to_owned(),
        severity: severity.into(),
    }
}

fn seconds(time: Duration) -> String {
    span(time.as_secs())
}

/// `shop/reviews` as it is typed: `reviews.shop`.
fn host(service: &str) -> String {
    match service.split_once('/') {
        Some((namespace, name)) => format!("{name}.{namespace}"),
        None => service.to_owned(),
    }
}

#[cfg(test)]
mod tests;
