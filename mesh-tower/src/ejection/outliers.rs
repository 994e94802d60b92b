use std::sync::Arc;
use std::time::Instant;

use mesh_core::balance::EndpointSet;
use mesh_core::ejection::{Detector, Event, Observed};
use mesh_core::policy::EjectionPolicy;
use mesh_core::telemetry::names;

use crate::telemetry::Recorder;

/// A set of endpoints with the detector that watches it, and a policy.
///
/// What the detector has counted belongs to the detector and the endpoints, so a new one of these
/// for a changed policy or set goes on where the last one was.
pub struct Outliers {
    policy: EjectionPolicy,
    set: EndpointSet,
    detector: Arc<Detector>,
    service: Arc<str>,
    recorder: Recorder,
}

// === impl Outliers ===

impl Outliers {
    /// A detector of its own over a fixed set.
    pub fn new(policy: EjectionPolicy, set: EndpointSet) -> Self {
        let detector = Arc::new(Detector::new());
        Self::with(policy, set, detector, Arc::from(""), Recorder::disabled())
    }

    pub(crate) fn with(
        policy: EjectionPolicy,
        set: EndpointSet,
        detector: Arc<Detector>,
        service: Arc<str>,
        recorder: Recorder,
    ) -> Self {
        Self {
            policy,
            set,
            detector,
            service,
            recorder,
        }
    }

    /// Tells how an attempt at position `ix` went.
    pub fn record(&self, ix: usize, observed: impl Into<Observed>, now: Instant) {
        let observed = observed.into();
        if let Some(event) = self
            .detector
            .observe(&self.policy, &self.set, ix, observed, now)
        {
            self.happened(&event);
        }
    }

    /// Looks at all endpoints; to be called about once a second.
    pub fn sweep(&self, now: Instant) {
        for event in self.detector.sweep(&self.policy, &self.set, now) {
            self.happened(&event);
        }
    }

    fn addr(&self, ix: usize) -> String {
        self.set
            .get(ix)
            .map_or_else(|| "?".to_owned(), |one| one.addr().to_string())
    }

    fn count(&self, name: &'static str, reason: &str) {
        self.recorder
            .counter(
                name,
                &[(names::SERVICE, &self.service), (names::REASON, reason)],
            )
            .increment(1);
    }

    fn happened(&self, event: &Event) {
        let service = &*self.service;
        match event {
            Event::Ejected { ix, reason, .. } => {
                tracing::warn!(service, endpoint = self.addr(*ix), %reason, "endpoint ejected");
                self.count(names::EJECTIONS, reason.label());
            }
            Event::Probing { ix } => {
                tracing::info!(service, endpoint = self.addr(*ix), "endpoint probed");
            }
            Event::Restored { ix } => {
                tracing::info!(
                    service,
                    endpoint = self.addr(*ix),
                    "endpoint back in rotation"
                );
            }
            Event::ProbeFailed { ix, .. } => {
                tracing::info!(
                    service,
                    endpoint = self.addr(*ix),
                    "endpoint failed its probe"
                );
            }
            Event::Slow { ix, factor_milli } => {
                let times = f64::from(*factor_milli) / 1000.0;
                tracing::warn!(
                    service,
                    endpoint = self.addr(*ix),
                    times,
                    "endpoint is slow against its peers; the rule only watches"
                );
                self.count(names::EJECTIONS_SHADOW, "latency");
            }
            Event::Withheld { why } => {
                tracing::warn!(service, %why, "ejection withheld");
                self.count(names::EJECTIONS_WITHHELD, why.label());
            }
            _ => {}
        }
    }
}

impl std::fmt::Debug for Outliers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outliers")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
