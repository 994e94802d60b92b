use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use http::{Request, Response};
use mesh_core::balance::EndpointState;
use mesh_core::breaker::Phase;
use mesh_core::error::MeshError;
use mesh_core::report::{EndpointHealth, EndpointReport};

use super::BackendView;
use crate::body::MeshBody;
use crate::metrics::Ended;
use crate::runtime;
use crate::stack::{BoxFuture, DynService, Seam};
use crate::transport::EndpointPool;

/// Names an endpoint within this process, never 0.
pub(crate) type EndpointId = u64;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// One endpoint of a backend: its connections, and what the report says beside the core's state.
/// It lives as long as a view, or a call on an old view, knows it.
pub(crate) struct Endpoint {
    id: EndpointId,
    seam: Seam,
    pool: Arc<EndpointPool>,
    reported_calls: AtomicU64,
    reported_failures: AtomicU64,
    /// As [`Ended`] has it, 0 for none.
    last_failure: AtomicU32,
}

/// The bottom of the stack: takes the call's context out and hands over to the connections, which
/// may keep what they are given for longer than the call lasts.
struct Bottom(Arc<EndpointPool>);

// === impl Endpoint ===

impl Endpoint {
    pub(crate) fn new(pool: EndpointPool, layer: impl FnOnce(Seam) -> Seam) -> Self {
        let pool = Arc::new(pool);
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            seam: layer(Seam::from_dyn(Arc::new(Bottom(pool.clone())))),
            pool,
            reported_calls: AtomicU64::new(0),
            reported_failures: AtomicU64::new(0),
            last_failure: AtomicU32::new(0),
        }
    }

    pub(crate) fn id(&self) -> EndpointId {
        self.id
    }

    /// Seam C: the user's layers around the connections.
    pub(crate) fn seam(&self) -> &Seam {
        &self.seam
    }

    pub(crate) fn pool(&self) -> &Arc<EndpointPool> {
        &self.pool
    }

    pub(crate) fn failed_with(&self, ended: Ended) {
        self.last_failure.store(ended.code, Ordering::Relaxed);
    }

    pub(crate) fn report(&self, backend: &BackendView, state: &EndpointState) -> EndpointReport {
        let (calls, failures) = state.totals();
        let now = crate::runtime::now();
        let last = match self.last_failure.load(Ordering::Relaxed) {
            0 => None,
            code => Some(Ended::text_of(code)),
        };
        let health = state.health();
        let reason = match health {
            EndpointHealth::Available => state.ejection().slow_milli().map(|milli| {
                let times = f64::from(milli) / 1000.0;
                format!("{times:.1} times as slow as its peers; stays, as the rule only watches")
            }),
            EndpointHealth::Unreachable => Some("connections to it fail".to_owned()),
            EndpointHealth::Unhealthy => Some("health checks of it fail".to_owned()),
            _ => state.ejection().reason().map(|reason| reason.to_string()),
        };
        // A breaker refuses calls to all of its backend's endpoints.
        let breaker = backend.breaker().and_then(|breaker| match breaker.phase() {
            Phase::Closed => None,
            Phase::HalfOpen => Some("the breaker is half open: a few calls are tried".to_owned()),
            Phase::Open => Some(format!(
                "the breaker is open for another {:.0?}",
                breaker.open_for(now).unwrap_or_default()
            )),
        });
        let reason = reason.or(breaker);
        EndpointReport {
            service: backend.policy().service().to_string(),
            addr: state.addr(),
            state: health,
            reason,
            in_flight: state.in_flight(),
            ewma_us: state
                .est(now)
                .map_or(0, |est| u64::try_from(est.as_micros()).unwrap_or(u64::MAX)),
            calls: calls.saturating_sub(self.reported_calls.swap(calls, Ordering::Relaxed)),
            failures: failures
                .saturating_sub(self.reported_failures.swap(failures, Ordering::Relaxed)),
            last_code: last,
        }
    }
}

// === impl Bottom ===

impl DynService for Bottom {
    fn call(
        &self,
        mut request: Request<MeshBody>,
    ) -> BoxFuture<Result<Response<MeshBody>, MeshError>> {
        // A connection may keep the request's extensions for longer than the call lasts.
        let call = request.body_mut().take_call();
        let pool = self.0.clone();
        Box::pin(async move {
            let (now, grpc) = match &call {
                Some(call) => (call.now(), Some(call.is_grpc())),
                None => (runtime::now(), None),
            };
            let answer = pool.call_at(request, now, grpc).await;
            if let Some(call) = call {
                call.tick();
            }
            answer
        })
    }

    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("pool");
    }
}
