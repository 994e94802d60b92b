//! What workloads report once a second, added up over two windows in fixed memory.
//!
//! An edge (caller, destination, route) keeps the last 10 s in slots of a second, for `stat`,
//! `check` and the page, and the last hour in slots of a minute. Slots hold sparse histograms. How
//! much there can be is bounded ([`limits`]): the rest of the edges is added up under `_other`, and
//! everything that falls out of its window is dropped.

mod edge;
mod endpoints;
mod inbound;
mod limits;
mod processes;
mod ring;

#[cfg(test)]
mod tests;

pub(crate) use endpoints::EndpointSum;
pub(crate) use inbound::{DeniedSum, RoutedSum, StrangerSum};
pub(crate) use limits::{MAX_REPORT_BYTES, check};

use std::time::{Duration, Instant};

use mesh_core::name::ServiceName;
use mesh_core::report::Histogram;
use mesh_grpc::pb::control as pb;

/// The short window.
pub(crate) const SHORT: Duration = Duration::from_secs(10);
/// The long window.
pub(crate) const LONG: Duration = Duration::from_secs(3600);

/// Which window to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    /// The last 10 full seconds.
    Short,
    /// The last hour, to the minute.
    Long,
}

/// Everything reported lately.
#[derive(Debug)]
pub(crate) struct Reports {
    start: Instant,
    edges: edge::Edges,
    endpoints: endpoints::Endpoints,
    inbound: inbound::Inbound,
    processes: processes::Processes,
}

impl Reports {
    pub(crate) fn new(start: Instant) -> Self {
        Self {
            start,
            edges: edge::Edges::default(),
            endpoints: endpoints::Endpoints::default(),
            inbound: inbound::Inbound::default(),
            processes: processes::Processes::default(),
        }
    }

    /// Takes in one report of a process of `service`; [`check`] has passed it.
    pub(crate) fn take(&mut self, service: &ServiceName, report: pb::ReportRequest, now: Instant) {
        let second = self.second(now);
        let from = service.to_string();
        for edge in &report.edges {
            self.edges.take(&from, edge, second);
        }
        self.endpoints
            .take(&from, &report.instance, &report.endpoints, second);
        for each in &report.inbound {
            self.inbound.take(&from, &report.instance, each, second);
        }
        // Where nobody has an identity, plaintext is how it is meant to be.
        if report.identity_not_after_unix > 0 {
            for source in &report.plaintext_sources {
                self.inbound.stranger(&from, source, second);
            }
        }
        self.processes.take(&from, &report, second);
    }

    /// Drops what has left its window; to be called about once a second.
    pub(crate) fn sweep(&mut self, now: Instant) {
        let second = self.second(now);
        self.edges.sweep(second);
        self.endpoints.sweep(second);
        self.inbound.sweep(second);
        self.processes.sweep(second);
    }

    /// How much of the window there has been: a server that has just started divides by that.
    pub(crate) fn covered(&self, span: Span, now: Instant) -> Duration {
        match span {
            Span::Short => SHORT,
            // Its slots are minutes, so the first one counts whole.
            Span::Long => now
                .saturating_duration_since(self.start)
                .clamp(Duration::from_secs(60), LONG),
        }
    }

    /// Edges with calls in the window, by caller, destination and route.
    pub(crate) fn edges(&self, span: Span, now: Instant) -> Vec<(String, pb::EdgeReport)> {
        self.edges.sum(span, self.second(now))
    }

    /// Endpoints as the clients of a service (or of all) see them.
    pub(crate) fn endpoints(&self, service: Option<&str>, now: Instant) -> Vec<EndpointSum> {
        self.endpoints.sum(service, self.second(now))
    }

    /// Who was denied by whom in the short window.
    pub(crate) fn denied(&self, now: Instant) -> Vec<DeniedSum> {
        self.inbound.denied(self.second(now))
    }

    /// Calls by callee, caller and routing, in the short window.
    pub(crate) fn routed(&self, now: Instant) -> Vec<RoutedSum> {
        self.inbound.routed(self.second(now))
    }

    /// Who calls in plaintext processes that have an identity, in the last hour.
    pub(crate) fn strangers(&self, now: Instant) -> Vec<StrangerSum> {
        self.inbound.strangers(self.second(now))
    }

    /// Processes with a certificate, and when it ends in seconds since 1970.
    pub(crate) fn certificates(&self) -> Vec<(String, String, i64)> {
        self.processes.certificates()
    }

    /// Plaintext connections accepted in the short window, by service.
    pub(crate) fn plaintext(&self, now: Instant) -> Vec<(String, u64)> {
        self.processes.plaintext(self.second(now))
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs()
    }
}

/// A quantile of a histogram as it travels, in microseconds.
pub(crate) fn quantile_us(histogram: &pb::Histogram, q: f64) -> Option<u64> {
    let pairs = histogram.index.iter().zip(&histogram.count);
    let histogram = Histogram::from_filled(
        pairs.map(|(bucket, count)| (usize::try_from(*bucket).unwrap_or(usize::MAX), *count)),
    );
    let us = histogram.quantile(q)?.as_micros();
    Some(u64::try_from(us).unwrap_or(u64::MAX))
}
