//! The inbound stack, assembled in the order of `SERVER_ORDER`.

use std::{sync::Arc, time::Duration};

use mesh_core::{
    live::Live,
    name::ServiceName,
    policy::{ConcurrencyPolicy, model::Snapshot},
};
use tower_layer::Layer;

use super::scope::{Scope, ScopeLayer};
use crate::{
    access::{Access, AccessLayer},
    access_log::{AccessLog, AccessLogLayer},
    catch_panic::{CatchPanic, CatchPanicLayer},
    criticality::{Criticality, CriticalityLayer},
    deadline::inbound::{InboundDeadline, InboundDeadlineLayer},
    health::{Health, HealthLayer},
    load_report::{LoadReportLayer, LoadReportService, LoadReports},
    mesh::Mesh,
    metrics::inbound::{InboundMetrics, InboundMetricsLayer},
    overload::{Entrance, Overload, OverloadLayer},
    ratelimit::{RateLimitLayer, RateLimited},
    report::InboundStats,
    rescue::inbound::{InboundRescue, InboundRescueLayer},
    telemetry::Tracing,
    timeout::inbound::{InboundTimeout, InboundTimeoutLayer},
    tls::Credentials,
    trace::inbound::{InboundTrace, InboundTraceLayer},
    traffic::{Follow, Home},
};

/// The stack around a service `S`, from *catch panic* inwards.
pub(super) type Stack<S> = CatchPanic<
    InboundTrace<
        InboundMetrics<
            AccessLog<
                LoadReportService<InboundRescue<InboundDeadline<Health<Access<Limited<S>>>>>>,
            >,
        >,
    >,
>;

/// What bears a load, below those that say who may come.
type Limited<S> = Criticality<RateLimited<Overload<InboundTimeout<Scope<S>>>>>;

/// What the stack is made from: shared by all connections of a server.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) service: ServiceName,
    pub(super) policy: Live<Snapshot>,
    pub(super) stats: InboundStats,
    credentials: Credentials,
    tracing: Tracing,
    health: HealthLayer,
    criticality: CriticalityLayer,
    ratelimit: RateLimitLayer,
    overload: OverloadLayer,
    timeout: InboundTimeoutLayer,
    reports: LoadReports,
    outside: bool,
}

/// What an application says of its server, beside the policy.
#[derive(Clone, Debug)]
pub(super) struct Own {
    /// Requests in work at most, streams included.
    pub(super) requests: usize,
    pub(super) timeout: Option<Duration>,
    pub(super) concurrency: Option<ConcurrencyPolicy>,
    /// Callers are outside the mesh.
    pub(super) outside: bool,
}

// === impl Parts ===

impl Parts {
    pub(super) fn new(mesh: &Mesh, own: &Own) -> Self {
        let stats = match own.outside {
            false => InboundStats::new(mesh.recorder()),
            true => InboundStats::outside(mesh.recorder()),
        };
        let reported = stats.clone();
        mesh.add_reporter(move |report| reported.fill(report));
        let policy = Live::watched(mesh.store().watch());
        let limits = own.limits(mesh, &policy);
        Self {
            service: mesh.service_name().clone(),
            policy,
            stats,
            credentials: mesh.credentials().clone(),
            tracing: mesh.recorder().tracing().clone(),
            health: HealthLayer::following(mesh.ready(), mesh.drain().clone()),
            criticality: limits.criticality,
            ratelimit: limits.ratelimit,
            overload: limits.overload,
            timeout: limits.timeout,
            reports: LoadReports::new(),
            outside: own.outside,
        }
    }

    /// The same, telling these reports of load.
    pub(super) fn reporting(mut self, reports: LoadReports) -> Self {
        self.reports = reports;
        self
    }

    /// Builds from the inside out; read it from the bottom up.
    pub(super) fn wrap<S>(&self, service: S) -> Stack<S> {
        let stack = ScopeLayer::new().layer(service);
        let stack = self.timeout.layer(stack);
        let stack = self.overload.layer(stack);
        let stack = self.ratelimit.layer(stack);
        let stack = self.criticality.layer(stack);
        let access = match self.outside {
            false => AccessLayer::live(self.policy.clone(), self.service.clone())
                .within(&self.credentials),
            true => AccessLayer::open(),
        };
        let stack = access.layer(stack);
        let stack = self.health.layer(stack);
        let stack = InboundDeadlineLayer::new().layer(stack);
        let stack = InboundRescueLayer::new().layer(stack);
        let stack = LoadReportLayer::new(self.reports.clone()).layer(stack);
        let stack = AccessLogLayer::new().layer(stack);
        let stack = InboundMetricsLayer::with_stats(self.stats.clone()).layer(stack);
        let stack = InboundTraceLayer::new(self.tracing.clone()).layer(stack);
        CatchPanicLayer::new().layer(stack)
    }

    pub(super) fn shared(self) -> Arc<Self> {
        Arc::new(self)
    }
}

// === impl Own ===

/// The layers that bear a load.
struct LimitLayers {
    criticality: CriticalityLayer,
    ratelimit: RateLimitLayer,
    overload: OverloadLayer,
    timeout: InboundTimeoutLayer,
}

impl Own {
    fn limits(&self, mesh: &Mesh, policy: &Live<Snapshot>) -> LimitLayers {
        let (recorder, home) = (mesh.recorder(), Home::of(mesh.credentials()));
        let traffic = Follow::live(policy.clone(), mesh.service_name().clone())
            .with_concurrency(self.concurrency);
        let model = traffic.last();
        let inbound = match self.outside {
            false => mesh.inbound(),
            true => mesh.ingress(),
        };
        let limiters = inbound.limiters(model, recorder);
        let entrance = match self.concurrency.filter(|_| !self.outside) {
            // A number of its own is of this server alone.
            Some(_) => Arc::new(Entrance::new(model.concurrency(), model.queue(), recorder)),
            None => inbound.entrance(model, recorder),
        };
        LimitLayers {
            criticality: CriticalityLayer::follow(traffic.clone(), home.clone()),
            ratelimit: RateLimitLayer::follow(traffic.clone(), home, limiters),
            overload: OverloadLayer::follow(traffic.clone(), entrance).at_most(self.requests),
            timeout: InboundTimeoutLayer::follow(self.timeout, traffic),
        }
    }
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts")
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}
