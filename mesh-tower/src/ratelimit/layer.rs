use std::sync::Arc;

use mesh_core::{
    policy::{InboundTraffic, RateLimit},
    ratelimit::RateLimits,
};
use tower_layer::Layer;

use super::{Limiters, RateLimited};
use crate::{
    telemetry::Recorder,
    traffic::{Follow, Home},
};

/// Refuses calls that come too often. All services made by one layer share the counts.
#[derive(Clone, Debug)]
pub struct RateLimitLayer {
    pub(super) traffic: Follow,
    pub(super) home: Home,
    pub(super) limiters: Arc<Limiters>,
    /// The limits of the policy that was seen last.
    pub(super) seen: Arc<InboundTraffic>,
    pub(super) limits: Arc<RateLimits>,
}

// === impl RateLimitLayer ===

impl RateLimitLayer {
    /// Limits that do not change, for a layer that is used alone.
    pub fn fixed(limits: impl IntoIterator<Item = RateLimit>) -> Self {
        let traffic = Follow::fixed(InboundTraffic::default().with_rate_limits(limits));
        let limiters = Arc::new(Limiters::new(traffic.last(), &Recorder::disabled()));
        Self::follow(traffic, Home::default(), limiters)
    }

    pub(crate) fn follow(traffic: Follow, home: Home, limiters: Arc<Limiters>) -> Self {
        let seen = traffic.last().clone();
        Self {
            limits: limiters.of(&seen),
            seen,
            traffic,
            home,
            limiters,
        }
    }

    /// The limits now.
    pub(super) fn now(&mut self) -> &RateLimits {
        let model = self.traffic.now();
        if !Arc::ptr_eq(model, &self.seen) {
            self.seen = model.clone();
            self.limits = self.limiters.of(model);
        }
        &self.limits
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimited<S>;

    fn layer(&self, inner: S) -> RateLimited<S> {
        RateLimited {
            inner,
            layer: self.clone(),
        }
    }
}
