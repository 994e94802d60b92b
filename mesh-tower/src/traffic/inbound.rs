use std::sync::{Arc, OnceLock};

use mesh_core::{name::ServiceName, policy::InboundTraffic, telemetry::names};

use crate::{overload::Entrance, ratelimit::Limiters, telemetry::Recorder};

/// What all servers of a mesh share: a limit is the service's, not one listener's or one worker's.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    entrance: OnceLock<Arc<Entrance>>,
    limiters: OnceLock<Arc<Limiters>>,
}

// === impl Inbound ===

impl Inbound {
    /// The limit on calls in work.
    pub(crate) fn entrance(&self, model: &InboundTraffic, recorder: &Recorder) -> Arc<Entrance> {
        self.entrance
            .get_or_init(|| Arc::new(Entrance::new(model.concurrency(), model.queue(), recorder)))
            .clone()
    }

    /// The limits on how often calls come.
    pub(crate) fn limiters(
        &self,
        model: &Arc<InboundTraffic>,
        recorder: &Recorder,
    ) -> Arc<Limiters> {
        self.limiters
            .get_or_init(|| Arc::new(Limiters::new(model, recorder)))
            .clone()
    }

    /// Whether there is a server.
    pub(crate) fn is_used(&self) -> bool {
        self.entrance.get().is_some()
    }

    /// Sets the metrics that are states.
    pub(crate) fn refresh_gauges(&self, service: &ServiceName, recorder: &Recorder) {
        let Some(entrance) = self.entrance.get() else {
            return;
        };
        let service = service.to_string();
        let labels = [(names::SERVICE, service.as_str())];
        let gate = entrance.gate();
        // Without a limit there is none to be shown.
        let limit = match gate.limit() {
            u32::MAX => f64::INFINITY,
            limit => f64::from(limit),
        };
        recorder.gauge(names::SERVER_LIMIT, &labels).set(limit);
        recorder
            .gauge(names::SERVER_WAITING, &labels)
            .set(f64::from(gate.waiting()));
    }
}
