//! Weights that clients compute from the load reports of endpoints (gRFC A58).
//!
//! `weight = qps / (utilization + eps / qps x penalty)`: what an endpoint could serve if it were
//! used to the full. A weight counts once reports have come for the blackout period, and until none
//! has come for the expiration period.

use std::time::{Duration, Instant};

use super::LoadReport;
use crate::clock;
use crate::policy::BalancePolicy;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What the reports of one endpoint amount to.
#[derive(Debug, Default)]
pub(super) struct Reported {
    /// An `f64`; 0 before the first report.
    weight: AtomicU64,
    /// Since when reports come; 0 while none do.
    since: AtomicU64,
    latest: AtomicU64,
}

// === impl Reported ===

impl Reported {
    /// Takes a report. One that says nothing (no utilization, or no calls) is left out.
    pub(super) fn take(&self, report: &LoadReport, penalty_milli: u32, now: Instant) {
        let Some(weight) = weight(report, penalty_milli) else {
            return;
        };
        let now = clock::millis(now);
        self.weight.store(weight.to_bits(), Relaxed);
        self.latest.store(now, Relaxed);
        let _ = self.since.compare_exchange(0, now, Relaxed, Relaxed);
    }

    /// The weight at `now`; 0 when it is not known, or not to be trusted yet.
    pub(super) fn weight(&self, blackout: Duration, expiration: Duration, now: Instant) -> f64 {
        let since = self.since.load(Relaxed);
        if since == 0 {
            return 0.0;
        }
        let now = clock::millis(now);
        let age = now.saturating_sub(self.latest.load(Relaxed));
        if age >= clock::duration(expiration) {
            // Fresh reports begin a blackout of their own.
            self.since.store(0, Relaxed);
            return 0.0;
        }
        if now.saturating_sub(since) < clock::duration(blackout) {
            return 0.0;
        }
        f64::from_bits(self.weight.load(Relaxed))
    }

    /// [`Reported::weight`] by the periods of `policy`.
    pub(super) fn by(&self, policy: &BalancePolicy, now: Instant) -> f64 {
        self.weight(policy.orca_blackout(), policy.orca_expiration(), now)
    }

    /// A connection was made anew: what was known may be of an earlier process.
    pub(super) fn restart(&self) {
        self.since.store(0, Relaxed);
    }
}

fn weight(report: &LoadReport, penalty_milli: u32) -> Option<f64> {
    let utilization = match report.application_utilization {
        used if used > 0.0 => used,
        _ => report.cpu_utilization,
    };
    if utilization <= 0.0 || report.qps <= 0.0 {
        return None;
    }
    let errors = report.eps.max(0.0) / report.qps * f64::from(penalty_milli) / 1000.0;
    let weight = report.qps / (utilization + errors);
    (weight.is_finite() && weight > 0.0).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn report(qps: f64, eps: f64, cpu: f64, application: f64) -> LoadReport {
        LoadReport {
            qps,
            eps,
            cpu_utilization: cpu,
            application_utilization: application,
        }
    }

    #[test]
    fn a58_weight_formula() {
        let of = |report: LoadReport| weight(&report, 1000);
        assert_eq!(of(report(100.0, 0.0, 0.5, 0.0)), Some(200.0));
        assert_eq!(of(report(100.0, 50.0, 0.5, 0.0)), Some(100.0));
        // Application utilization comes before the CPU's.
        assert_eq!(of(report(100.0, 0.0, 0.5, 0.25)), Some(400.0));
        assert_eq!(weight(&report(100.0, 50.0, 0.5, 0.0), 0), Some(200.0));
        assert_eq!(
            weight(&report(100.0, 50.0, 0.5, 0.0), 2000),
            Some(100.0 / 1.5)
        );
        for nothing in [report(0.0, 0.0, 0.5, 0.0), report(9.0, 0.0, 0.0, 0.0)] {
            assert_eq!(of(nothing), None);
        }
    }

    #[test]
    fn a58_blackout_and_expiration() {
        let start = Instant::now();
        let reported = Reported::default();
        let (blackout, expiration) = (10 * SECOND, 180 * SECOND);
        let at = |second: u32| reported.weight(blackout, expiration, start + second * SECOND);
        let take = |second: u32| {
            reported.take(&report(100.0, 0.0, 0.5, 0.0), 1000, start + second * SECOND);
        };
        assert_eq!(at(0), 0.0);
        take(0);
        assert_eq!((at(0), at(9)), (0.0, 0.0));
        assert_eq!((at(10), at(179)), (200.0, 200.0));
        // Expired; and what comes after it waits for a blackout of its own.
        assert_eq!(at(180), 0.0);
        take(181);
        assert_eq!((at(182), at(190)), (0.0, 0.0));
        assert_eq!(at(191), 200.0);
        // A useless report does not keep a weight alive.
        reported.take(&report(0.0, 0.0, 0.5, 0.0), 1000, start + 300 * SECOND);
        assert_eq!(at(361), 0.0);
    }

    #[test]
    fn a58_no_blackout_counts_at_once() {
        let now = Instant::now();
        let reported = Reported::default();
        reported.take(&report(10.0, 0.0, 0.1, 0.0), 1000, now);
        assert_eq!(reported.weight(Duration::ZERO, 180 * SECOND, now), 100.0);
        reported.restart();
        assert_eq!(reported.weight(Duration::ZERO, 180 * SECOND, now), 0.0);
    }
}
