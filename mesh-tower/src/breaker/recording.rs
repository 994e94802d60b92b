use std::time::Instant;

use mesh_core::breaker::{Event, Permit};
use mesh_core::telemetry::names;

use crate::context::CallContext;
use crate::metrics::Ended;
use crate::runtime;

/// An attempt that the breaker let through and that has not been recorded yet.
pub(super) struct Recording {
    permit: Option<Permit>,
    call: Option<CallContext>,
    started: Instant,
    /// Time of the answer's head.
    head: Option<Instant>,
    pub(super) grpc: bool,
}

// === impl Recording ===

impl Recording {
    pub(super) fn new(
        permit: Permit,
        call: Option<CallContext>,
        started: Instant,
        grpc: bool,
    ) -> Self {
        Self {
            permit: Some(permit),
            call,
            started,
            head: None,
            grpc,
        }
    }

    fn now(&self) -> Instant {
        self.call
            .as_ref()
            .map_or_else(runtime::now, CallContext::now)
    }

    /// The head has come; the status has not.
    pub(super) fn answered(&mut self) {
        self.head = Some(self.now());
    }

    /// How the attempt went. What says nothing about the backend is cancelled.
    pub(super) fn ended(&mut self, ended: Ended) {
        let failed = ended.class.is_endpoint_failure();
        if failed || !ended.class.is_failure() {
            let now = self.now();
            self.record(failed, self.head.unwrap_or(now), now);
        } else {
            self.permit = None;
        }
    }

    fn record(&mut self, failed: bool, answered: Instant, now: Instant) {
        let Some(mut permit) = self.permit.take() else {
            return;
        };
        let took = answered.saturating_duration_since(self.started);
        if let Some(event) = permit.record(failed, took, now) {
            self.happened(event);
        }
    }

    fn happened(&self, event: Event) {
        let chosen = self.call.as_ref().and_then(CallContext::chosen);
        let service = chosen.map(|chosen| chosen.service.name().to_string());
        let service = service.as_deref().unwrap_or_default();
        match event {
            Event::Opened {
                failed,
                slow,
                calls,
            } => {
                tracing::warn!(service, failed, slow, calls, "breaker opened");
                if let Some(chosen) = chosen {
                    let why = if failed >= slow { "failures" } else { "slow" };
                    chosen.backend.count(names::BREAKER_OPENED, why);
                }
            }
            Event::Closed => tracing::info!(service, "breaker closed"),
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if self.permit.is_none() {
            return;
        }
        if let Some(head) = self.head {
            // The caller stopped reading before the status: what it had was good.
            return self.record(false, head, head);
        }
        let now = runtime::now();
        let deadline = self.call.as_ref().and_then(CallContext::deadline);
        if deadline.is_some_and(|deadline| deadline <= now) {
            // Cut off by its deadline: it was too slow, though the caller and not the backend ended it.
            self.record(true, now, now);
        }
    }
}
