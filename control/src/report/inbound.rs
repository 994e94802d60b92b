//! Calls received, by caller: what an access policy denied.

use std::collections::BTreeMap;

use mesh_grpc::pb::control as pb;

use super::SHORT;
use super::limits::MAX_INBOUND;
use super::ring::Ring;

const SECONDS: u64 = SHORT.as_secs();

/// Calls and denials.
type Counts = (u64, u64);

#[derive(Debug, Default)]
pub(super) struct Inbound(BTreeMap<(Box<str>, Box<str>), Ring<Counts, SECONDS>>);

/// Denied calls of one caller at one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeniedSum {
    pub(crate) service: String,
    /// SPIFFE id, or `plaintext`.
    pub(crate) from: String,
    pub(crate) calls: u64,
    pub(crate) denied: u64,
}

impl Inbound {
    pub(super) fn take(&mut self, service: &str, report: &pb::InboundReport, second: u64) {
        let key = (service.into(), report.from.as_str().into());
        if !self.0.contains_key(&key) && self.0.len() >= MAX_INBOUND {
            return;
        }
        let (calls, denied) = self.0.entry(key).or_default().at(second);
        *calls = calls.saturating_add(report.calls);
        *denied = denied.saturating_add(report.denied);
    }

    pub(super) fn sweep(&mut self, second: u64) {
        self.0.retain(|_, ring| {
            ring.drop_old(second);
            !ring.is_empty()
        });
    }

    pub(super) fn denied(&self, second: u64) -> Vec<DeniedSum> {
        let mut sums = Vec::new();
        for ((service, from), ring) in &self.0 {
            let add = |sum: Counts, each: &Counts| (sum.0 + each.0, sum.1 + each.1);
            let (calls, denied) = ring.recent(second).fold((0, 0), add);
            if denied > 0 {
                let (service, from) = (service.to_string(), from.to_string());
                sums.push(DeniedSum {
                    service,
                    from,
                    calls,
                    denied,
                });
            }
        }
        sums
    }
}
