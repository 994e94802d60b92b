use std::sync::Arc;

use mesh_core::{
    live::Live,
    name::ServiceName,
    policy::{ConcurrencyPolicy, InboundTraffic, model::Snapshot},
};

/// The traffic policy in force for one service. Each clone follows it by itself.
#[derive(Clone, Debug)]
pub(crate) struct Follow {
    source: Option<Source>,
    model: Arc<InboundTraffic>,
    /// What the application says of concurrency, where the policy says nothing.
    own: Option<ConcurrencyPolicy>,
}

#[derive(Clone, Debug)]
struct Source {
    policy: Live<Snapshot>,
    service: ServiceName,
    seen: Arc<Snapshot>,
}

// === impl Follow ===

impl Follow {
    /// A policy that does not change.
    pub(crate) fn fixed(model: InboundTraffic) -> Self {
        Self {
            source: None,
            model: Arc::new(model),
            own: None,
        }
    }

    /// The live policy of a service.
    pub(crate) fn live(mut policy: Live<Snapshot>, service: ServiceName) -> Self {
        let seen = policy.get().clone();
        Self {
            model: seen.inbound().traffic_for(&service),
            source: Some(Source {
                policy,
                service,
                seen,
            }),
            own: None,
        }
    }

    /// The same; `own` holds where the policy leaves concurrency at its defaults.
    pub(crate) fn with_concurrency(mut self, own: Option<ConcurrencyPolicy>) -> Self {
        self.own = own;
        self.model = self.adjusted(self.model.clone());
        self
    }

    fn adjusted(&self, model: Arc<InboundTraffic>) -> Arc<InboundTraffic> {
        match self.own {
            Some(own) if *model.concurrency() == ConcurrencyPolicy::default() => {
                Arc::new(InboundTraffic::clone(&model).with_concurrency(own))
            }
            _ => model,
        }
    }

    /// The policy now: one atomic compare when nothing changed. The same `Arc` as before then.
    pub(crate) fn now(&mut self) -> &Arc<InboundTraffic> {
        if let Some(source) = &mut self.source {
            let latest = source.policy.get();
            if !Arc::ptr_eq(latest, &source.seen) {
                source.seen = latest.clone();
                let model = latest.inbound().traffic_for(&source.service);
                self.model = self.adjusted(model);
            }
        }
        &self.model
    }

    /// The policy that [`Follow::now`] saw last.
    pub(crate) fn last(&self) -> &Arc<InboundTraffic> {
        &self.model
    }
}
