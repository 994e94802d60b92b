//! Calls received, by callee and caller: what was denied, how they were routed, who is not in the
//! mesh.

use std::collections::BTreeMap;
use std::net::IpAddr;

use mesh_grpc::pb::control as pb;

use super::limits::{MAX_INBOUND, MAX_STAMPS, MAX_STRANGERS};
use super::ring::Ring;
use super::{LONG, SHORT};

const SECONDS: u64 = SHORT.as_secs();

/// What one process says of one caller in one second.
#[derive(Clone, Debug, Default)]
struct Counts {
    calls: u64,
    denied: u64,
    /// By stamp; the empty one is none.
    routed: BTreeMap<Box<str>, u64>,
}

/// By service, process and caller.
type Key = (Box<str>, Box<str>, Box<str>);

#[derive(Debug, Default)]
pub(super) struct Inbound {
    calls: BTreeMap<Key, Ring<Counts, SECONDS>>,
    /// By service and address.
    strangers: BTreeMap<(Box<str>, IpAddr), Stranger>,
}

/// An address that calls in plaintext.
#[derive(Clone, Copy, Debug, Default)]
struct Stranger {
    connections: u64,
    calls: u64,
    first: u64,
    last: u64,
}

/// Denied calls of one caller at one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeniedSum {
    pub(crate) service: String,
    /// SPIFFE id, or `plaintext`.
    pub(crate) from: String,
    pub(crate) calls: u64,
    pub(crate) denied: u64,
}

/// Calls of one caller at one process in the short window, by their routing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoutedSum {
    pub(crate) service: String,
    pub(crate) instance: String,
    /// SPIFFE id, or `plaintext`.
    pub(crate) from: String,
    /// The text of the stamp, empty without one.
    pub(crate) stamp: String,
    pub(crate) calls: u64,
}

/// A caller without an identity, within the long window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StrangerSum {
    pub(crate) service: String,
    pub(crate) source: IpAddr,
    pub(crate) connections: u64,
    pub(crate) calls: u64,
    /// Seconds since it was first and last seen.
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl Inbound {
    pub(super) fn take(
        &mut self,
        service: &str,
        instance: &str,
        report: &pb::InboundReport,
        second: u64,
    ) {
        let key = (service.into(), instance.into(), report.from.as_str().into());
        if !self.calls.contains_key(&key) && self.calls.len() >= MAX_INBOUND {
            return;
        }
        let counts = self.calls.entry(key).or_default().at(second);
        counts.calls = counts.calls.saturating_add(report.calls);
        counts.denied = counts.denied.saturating_add(report.denied);
        let unrouted = (report.unrouted > 0).then_some(("", report.unrouted));
        let routed = report
            .routed
            .iter()
            .map(|(stamp, calls)| (stamp.as_str(), *calls));
        for (stamp, calls) in routed.chain(unrouted) {
            if counts.routed.len() < MAX_STAMPS || counts.routed.contains_key(stamp) {
                let sum = counts.routed.entry(stamp.into()).or_default();
                *sum = sum.saturating_add(calls);
            }
        }
    }

    /// Plaintext at a process that has an identity itself.
    pub(super) fn stranger(&mut self, service: &str, source: &pb::PlaintextSource, second: u64) {
        let Ok(address) = source.source.parse::<IpAddr>() else {
            return;
        };
        let key = (service.into(), address);
        if !self.strangers.contains_key(&key) && self.strangers.len() >= MAX_STRANGERS {
            return;
        }
        let known = self.strangers.entry(key).or_insert(Stranger {
            first: second,
            ..Stranger::default()
        });
        known.last = second;
        known.connections = known.connections.saturating_add(source.connections);
        known.calls = known.calls.saturating_add(source.calls);
    }

    pub(super) fn sweep(&mut self, second: u64) {
        self.calls.retain(|_, ring| {
            ring.drop_old(second);
            !ring.is_empty()
        });
        self.strangers
            .retain(|_, stranger| stranger.last + LONG.as_secs() >= second);
    }

    pub(super) fn denied(&self, second: u64) -> Vec<DeniedSum> {
        let mut sums: BTreeMap<(&str, &str), (u64, u64)> = BTreeMap::new();
        for ((service, _, from), ring) in &self.calls {
            let (calls, denied) = sums.entry((service, from)).or_default();
            for each in ring.recent(second) {
                *calls += each.calls;
                *denied += each.denied;
            }
        }
        let denied = sums.into_iter().filter(|(_, (_, denied))| *denied > 0);
        denied
            .map(|((service, from), (calls, denied))| DeniedSum {
                service: service.to_owned(),
                from: from.to_owned(),
                calls,
                denied,
            })
            .collect()
    }

    pub(super) fn routed(&self, second: u64) -> Vec<RoutedSum> {
        let mut sums = Vec::new();
        for ((service, instance, from), ring) in &self.calls {
            let mut by_stamp: BTreeMap<&str, u64> = BTreeMap::new();
            for each in ring.recent(second) {
                for (stamp, calls) in &each.routed {
                    *by_stamp.entry(stamp).or_default() += calls;
                }
            }
            sums.extend(by_stamp.into_iter().map(|(stamp, calls)| RoutedSum {
                service: service.to_string(),
                instance: instance.to_string(),
                from: from.to_string(),
                stamp: stamp.to_owned(),
                calls,
            }));
        }
        sums
    }

    pub(super) fn strangers(&self, second: u64) -> Vec<StrangerSum> {
        let sum = |((service, source), known): (&(Box<str>, IpAddr), &Stranger)| StrangerSum {
            service: service.to_string(),
            source: *source,
            connections: known.connections,
            calls: known.calls,
            first: second.saturating_sub(known.first),
            last: second.saturating_sub(known.last),
        };
        self.strangers.iter().map(sum).collect()
    }
}
