//! Certificates that end, and those that are refused.

use std::collections::{BTreeMap, BTreeSet};

use mesh_grpc::pb::control as pb;

use super::Observed;
use super::finding::{error, host, ok, warning};
use crate::cli::table::span;

/// Codes that say that a certificate was refused.
const CERTIFICATE_CODES: [&str; 3] = ["M4002", "M4003", "M4004"];

/// Renewal is at 70 % of a certificate's life; with less than a fifth left it has failed for long.
pub(super) fn ending(seen: &Observed, found: &mut Vec<pb::Finding>) {
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
pub(super) fn refused(seen: &Observed, found: &mut Vec<pb::Finding>) -> BTreeSet<String> {
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
