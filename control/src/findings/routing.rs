//! Splits that calls come past, and callers that are not in the mesh.

use std::collections::BTreeMap;

use mesh_grpc::pb::control as pb;

use super::finding::{host, seconds, warning};
use super::{FEW_CALLS, Observed, Share};
use crate::cli::table::share;
use crate::report::StrangerSum;

/// A share may be this much larger than intended, in percent of all calls, before it is told.
const SLACK: u64 = 1;
/// The most callers that a finding names.
const NAMED: usize = 8;

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
    let mut out: Vec<String> = callers
        .iter()
        .take(NAMED)
        .map(|(from, calls)| format!("{from} ({calls})"))
        .collect();
    if callers.len() > NAMED {
        out.push(format!("{} more", callers.len() - NAMED));
    }
    out.join(", ")
}

/// Callers without an identity at services that have one: a switch to `Strict` would cut them off.
pub(super) fn strangers(seen: &Observed, found: &mut Vec<pb::Finding>) {
    let mut by_service: BTreeMap<&str, Vec<&StrangerSum>> = BTreeMap::new();
    for stranger in &seen.strangers {
        by_service
            .entry(&stranger.service)
            .or_default()
            .push(stranger);
    }
    for (service, mut strangers) in by_service {
        strangers.sort_by_key(|stranger| (std::cmp::Reverse(stranger.calls), stranger.source));
        let named = strangers.iter().take(NAMED).map(|stranger| {
            let ago = seconds(std::time::Duration::from_secs(stranger.last));
            format!(
                "{} ({} calls, last {ago} ago)",
                stranger.source, stranger.calls
            )
        });
        let mut named = named.collect::<Vec<_>>().join(", ");
        if strangers.len() > NAMED {
            named.push_str(&format!(", {} more", strangers.len() - NAMED));
        }
        let text = format!(
            "{} addresses call without an identity, and Strict would cut them off: {named}",
            strangers.len()
        );
        let next = format!(
            "start them in the mesh, or except them in the TransportPolicy of {service} until a date"
        );
        found.push(warning("M5012", service, text, &next));
    }
}
