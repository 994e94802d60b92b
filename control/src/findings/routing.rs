//! Splits that calls come past, and callers that are not in the mesh.

use std::collections::BTreeMap;

use mesh_grpc::pb::control as pb;

use super::finding::{host, seconds, warning};
use super::{FEW_CALLS, Observed, Share, some_of};
use crate::cli::table::share;
use crate::report::StrangerSum;

/// A share may be this much larger than intended, in percent of all calls, before it is told.
const SLACK: u64 = 1;
/// Backends that receive more than their weight because of calls that no rule of the service sent.
pub(super) fn splits(seen: &Observed, found: &mut Vec<pb::Finding>) {
    for split in &seen.splits {
        let weights: u64 = split.targets.iter().map(|t| u64::from(t.weight)).sum();
        let calls: u64 = split.targets.iter().map(received).sum();
        if weights == 0 || calls == 0 {
            continue;
        }
        for target in &split.targets {
            let received = received(target);
            let past = received - target.routed;
            // received / calls > weight / weights + SLACK %, without fractions.
            let intended = u64::from(target.weight) * calls * 100 + SLACK * calls * weights;
            if past < FEW_CALLS || received * weights * 100 <= intended {
                continue;
            }
            let text = format!(
                "receives {} of the calls of {} rule {}, {} is intended: {past} of {received} calls in 10s \
                 came past the split, from {}",
                share(received, calls, 1),
                split.service,
                split.route,
                share(u64::from(target.weight), weights, 1),
                names(&target.past),
            );
            let next = format!(
                "have them call {}; meshctl explain {0} shows the split",
                host(&split.service)
            );
            found.push(warning("M5011", &target.backend, text, &next));
        }
    }
}

fn received(target: &Share) -> u64 {
    let past = target.past.iter().map(|(_, calls)| calls);
    past.fold(target.routed, |sum, calls| sum.saturating_add(*calls))
}

/// `shop/job (50), plaintext (3)`, the most frequent first.
fn names(callers: &[(String, u64)]) -> String {
    let mut callers: Vec<_> = callers.iter().collect();
    callers.sort_by_key(|(_, calls)| std::cmp::Reverse(*calls));
    some_of(&callers, |(from, calls)| format!("{from} ({calls})"))
}

/// Callers without an identity at services that have one: a switch to `Strict` would cut them off,
/// or has.
pub(super) fn strangers(seen: &Observed, found: &mut Vec<pb::Finding>) {
    let mut by_service: BTreeMap<&str, [Vec<&StrangerSum>; 2]> = BTreeMap::new();
    for stranger in &seen.strangers {
        // What is refused has no calls; one that is excepted has.
        let refused = stranger.calls == 0 && seen.strict.contains(&stranger.service);
        let lists = by_service.entry(&stranger.service).or_default();
        lists[usize::from(refused)].push(stranger);
    }
    for (service, [calling, refused]) in by_service {
        if !calling.is_empty() {
            let text = format!(
                "{} addresses call without an identity, and Strict would cut them off: {}",
                calling.len(),
                addresses(calling, |stranger| format!("{} calls", stranger.calls))
            );
            let next = format!(
                "start them in the mesh, or except them in the TransportPolicy of {service} until a date"
            );
            found.push(warning("M5012", service, text, &next));
        }
        if !refused.is_empty() {
            let text = format!(
                "{} addresses try to call without an identity and are refused: {}",
                refused.len(),
                addresses(refused, |stranger| {
                    format!("{} connections", stranger.connections)
                })
            );
            let next = format!(
                "start them in the mesh, except them in the TransportPolicy of {service} until a date, \
                 or stop them"
            );
            found.push(warning("M5012", service, text, &next));
        }
    }
}

/// `10.0.0.7 (3 calls, last 2s ago)`, the most frequent first.
fn addresses(mut strangers: Vec<&StrangerSum>, count: impl Fn(&StrangerSum) -> String) -> String {
    strangers.sort_by_key(|each| {
        let often = std::cmp::Reverse((each.calls, each.connections));
        (often, each.source)
    });
    some_of(&strangers, |stranger| {
        let ago = seconds(std::time::Duration::from_secs(stranger.last));
        format!("{} ({}, last {ago} ago)", stranger.source, count(stranger))
    })
}
