use std::sync::Arc;

use mesh_core::policy::{ConcurrencyPolicy, InboundTraffic, QueuePolicy};
use tower_layer::Layer;

use super::{Entrance, Overload, room::Room};
use crate::{telemetry::Recorder, traffic::Follow};

/// Bounds requests in work. All services made by one layer share the limit.
#[derive(Clone, Debug)]
pub struct OverloadLayer {
    pub(super) entrance: Arc<Entrance>,
    pub(super) room: Option<Arc<Room>>,
    traffic: Follow,
    /// The policy that is applied.
    seen: Arc<InboundTraffic>,
}

// === impl OverloadLayer ===

impl OverloadLayer {
    /// A limit that is found as `concurrency` says, with a queue before it.
    pub fn new(concurrency: &ConcurrencyPolicy, queue: &QueuePolicy) -> Self {
        let model = InboundTraffic::default()
            .with_concurrency(*concurrency)
            .with_queue(*queue);
        let entrance = Entrance::new(concurrency, queue, &Recorder::disabled());
        Self::follow(Follow::fixed(model), Arc::new(entrance))
    }

    pub(crate) fn follow(traffic: Follow, entrance: Arc<Entrance>) -> Self {
        let seen = traffic.last().clone();
        entrance.update(seen.concurrency(), seen.queue());
        Self {
            entrance,
            room: None,
            traffic,
            seen,
        }
    }

    /// And never more than `requests`, streams included.
    #[must_use]
    pub fn at_most(mut self, requests: usize) -> Self {
        self.room = Some(Room::new(requests));
        self
    }

    /// The limit now; `u32::MAX` for none.
    pub fn limit(&self) -> u32 {
        self.entrance.gate().limit()
    }

    /// How many requests are in work now.
    pub fn in_work(&self) -> u32 {
        self.entrance.gate().in_work()
    }

    /// How many requests wait now.
    pub fn waiting(&self) -> u32 {
        self.entrance.gate().waiting()
    }

    /// Applies a changed policy, once for all that share the limit.
    pub(super) fn refresh(&mut self) {
        let model = self.traffic.now();
        if !Arc::ptr_eq(model, &self.seen) {
            self.seen = model.clone();
            self.entrance.update(model.concurrency(), model.queue());
        }
    }
}

impl<S> Layer<S> for OverloadLayer {
    type Service = Overload<S>;

    fn layer(&self, inner: S) -> Overload<S> {
        Overload {
            inner,
            layer: self.clone(),
        }
    }
}
