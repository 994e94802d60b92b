use std::sync::{Arc, Mutex, PoisonError};

use mesh_core::{policy::InboundTraffic, ratelimit::RateLimits, telemetry::names};

use crate::{runtime, telemetry::Recorder};

/// The limits in force, for all servers of a service. A change of the policy keeps what is counted.
#[derive(Debug)]
pub(crate) struct Limiters {
    current: Mutex<(Arc<InboundTraffic>, Arc<RateLimits>)>,
    recorder: Recorder,
}

// === impl Limiters ===

impl Limiters {
    pub(crate) fn new(model: &Arc<InboundTraffic>, recorder: &Recorder) -> Self {
        let limits = Arc::new(RateLimits::new(model.rate_limits(), runtime::now()));
        Self {
            current: Mutex::new((model.clone(), limits)),
            recorder: recorder.clone(),
        }
    }

    /// The limits of a policy. The first who comes with a new one makes them.
    pub(super) fn of(&self, model: &Arc<InboundTraffic>) -> Arc<RateLimits> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&current.0, model) {
            if current.0.rate_limits() != model.rate_limits() {
                current.1 = Arc::new(current.1.next(model.rate_limits(), runtime::now()));
            }
            current.0 = model.clone();
        }
        current.1.clone()
    }

    pub(super) fn count(&self, limit: &str, criticality: &'static str) {
        let labels = [(names::LIMIT, limit), (names::CRITICALITY, criticality)];
        self.recorder
            .counter(names::SERVER_RATE_LIMITED, &labels)
            .increment(1);
    }
}
