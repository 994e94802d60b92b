//! Endpoints, as each client process sees them.

use std::collections::BTreeMap;

use mesh_grpc::pb::control as pb;

use super::SHORT;
use super::limits::MAX_VIEWS;
use super::ring::Ring;

const SECONDS: u64 = SHORT.as_secs();
/// A client that says nothing about an endpoint for so long does not use it (any more).
const FORGET_AFTER: u64 = 5;

#[derive(Debug, Default)]
struct View {
    latest: pb::EndpointReport,
    seen: u64,
    /// Calls and failures.
    counts: Ring<(u64, u64), SECONDS>,
}

/// Service, address, reporting service, reporting process.
type Key = (Box<str>, Box<str>, Box<str>, Box<str>);

#[derive(Debug, Default)]
pub(super) struct Endpoints(BTreeMap<Key, View>);

/// One endpoint as one client saw it over the short window: `report` has the latest state, and the
/// calls and failures of the window.
#[derive(Clone, Debug)]
pub(crate) struct EndpointSum {
    pub(crate) from: String,
    pub(crate) instance: String,
    pub(crate) report: pb::EndpointReport,
}

impl Endpoints {
    pub(super) fn take(
        &mut self,
        from: &str,
        instance: &str,
        reports: &[pb::EndpointReport],
        second: u64,
    ) {
        for report in reports {
            let key: Key = (
                report.service.as_str().into(),
                report.addr.as_str().into(),
                from.into(),
                instance.into(),
            );
            if !self.0.contains_key(&key) && self.0.len() >= MAX_VIEWS {
                continue;
            }
            let view = self.0.entry(key).or_default();
            let (calls, failures) = view.counts.at(second);
            *calls = calls.saturating_add(report.calls);
            *failures = failures.saturating_add(report.failures);
            view.latest = report.clone();
            view.seen = second;
        }
    }

    pub(super) fn sweep(&mut self, second: u64) {
        self.0.retain(|_, view| {
            view.counts.drop_old(second);
            view.seen + FORGET_AFTER >= second
        });
    }

    pub(super) fn sum(&self, service: Option<&str>, second: u64) -> Vec<EndpointSum> {
        let wanted = |key: &Key| service.is_none_or(|service| *service == *key.0);
        let views = self.0.iter().filter(|(key, _)| wanted(key));
        views
            .map(|((_, _, from, instance), view)| {
                let mut report = view.latest.clone();
                (report.calls, report.failures) = view
                    .counts
                    .recent(second)
                    .fold((0, 0), |sum: (u64, u64), each| {
                        (sum.0 + each.0, sum.1 + each.1)
                    });
                EndpointSum {
                    from: from.to_string(),
                    instance: instance.to_string(),
                    report,
                }
            })
            .collect()
    }
}
