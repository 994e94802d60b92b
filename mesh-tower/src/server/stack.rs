//! The inbound stack, assembled in the order of `SERVER_ORDER`.

use std::{sync::Arc, time::Duration};

use mesh_core::{live::Live, name::ServiceName, policy::model::Snapshot};
use tower_layer::Layer;

use super::scope::{Scope, ScopeLayer};
use crate::{
    access::{Access, AccessLayer},
    access_log::{AccessLog, AccessLogLayer},
    catch_panic::{CatchPanic, CatchPanicLayer},
    deadline::inbound::{InboundDeadline, InboundDeadlineLayer},
    health::{Health, HealthLayer},
    mesh::Mesh,
    metrics::inbound::{InboundMetrics, InboundMetricsLayer},
    report::InboundStats,
    rescue::inbound::{InboundRescue, InboundRescueLayer},
    shed::{Shed, ShedLayer},
    telemetry::Tracing,
    timeout::inbound::{InboundTimeout, InboundTimeoutLayer},
    tls::Credentials,
    trace::inbound::{InboundTrace, InboundTraceLayer},
};

/// The stack around a service `S`, from *catch panic* inwards.
pub(super) type Stack<S> = CatchPanic<
    InboundTrace<
        InboundMetrics<
            AccessLog<
                InboundRescue<InboundDeadline<Health<Access<Shed<InboundTimeout<Scope<S>>>>>>>,
            >,
        >,
    >,
>;

/// What the stack is made from: shared by all connections of a server.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) service: ServiceName,
    pub(super) policy: Live<Snapshot>,
    pub(super) stats: InboundStats,
    credentials: Credentials,
    tracing: Tracing,
    health: HealthLayer,
    shed: ShedLayer,
    timeout: Option<Duration>,
}

// === impl Parts ===

impl Parts {
    pub(super) fn new(mesh: &Mesh, requests: usize, timeout: Option<Duration>) -> Self {
        let ready = mesh.ready();
        let drain = mesh.drain().clone();
        let stats = InboundStats::new(mesh.recorder());
        let reported = stats.clone();
        mesh.add_reporter(move |report| reported.fill(report));
        Self {
            service: mesh.service_name().clone(),
            policy: Live::watched(mesh.store().watch()),
            stats,
            credentials: mesh.credentials().clone(),
            tracing: mesh.recorder().tracing().clone(),
            health: HealthLayer::new(move || {
                if !drain.is_serving() {
                    return Some("draining");
                }
                (!*ready.borrow()).then_some("not ready: identity or policy has not arrived")
            }),
            shed: ShedLayer::new(requests),
            timeout,
        }
    }

    /// Builds from the inside out; read it from the bottom up.
    pub(super) fn wrap<S>(&self, service: S) -> Stack<S> {
        let stack = ScopeLayer::new().layer(service);
        let stack = InboundTimeoutLayer::new(self.timeout).layer(stack);
        let stack = self.shed.layer(stack);
        let access = AccessLayer::live(self.policy.clone(), self.service.clone());
        let stack = access.within(&self.credentials).layer(stack);
        let stack = self.health.layer(stack);
        let stack = InboundDeadlineLayer::new().layer(stack);
        let stack = InboundRescueLayer::new().layer(stack);
        let stack = AccessLogLayer::new().layer(stack);
        let stack = InboundMetricsLayer::with_stats(self.stats.clone()).layer(stack);
        let stack = InboundTraceLayer::new(self.tracing.clone()).layer(stack);
        CatchPanicLayer::new().layer(stack)
    }

    pub(super) fn shared(self) -> Arc<Self> {
        Arc::new(self)
    }
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts")
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}
