//! The task that looks after one endpoint.

use std::sync::Arc;
use std::time::Duration;

use mesh_core::balance::EndpointState;
use mesh_core::error::{ErrorKind, MeshError};
use mesh_core::health::{Change, Verdict};
use mesh_core::policy::model::{HealthPolicy, HealthProbe};
use mesh_core::telemetry::names;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{grpc, probe};
use crate::runtime;
use crate::telemetry::{Counter, Histogram, Recorder};
use crate::transport::{Connect, EndpointPool, PoolConfig};

/// Checks of one process at a time, over all backends: a process that knows ten thousand endpoints
/// must not open as many connections when it starts.
static PROCESS: Semaphore = Semaphore::const_new(64);

/// An endpoint, and how it is asked.
pub(super) struct Subject {
    pub(super) policy: HealthPolicy,
    pub(super) pool: Option<EndpointPool>,
    config: PoolConfig,
    connect: Arc<dyn Connect>,
    state: Arc<EndpointState>,
    limit: Arc<Semaphore>,
    service: Arc<str>,
    passed: Counter,
    failed: Counter,
    took: Histogram,
}

/// A check's turn: one of the backend's, and one of the process's.
pub(super) struct Turn {
    _backend: tokio::sync::OwnedSemaphorePermit,
    _process: SemaphorePermit<'static>,
}

/// Asks until it is aborted.
pub(super) async fn run(mut subject: Subject) {
    if let HealthProbe::Grpc { service } = subject.policy.probe().clone() {
        // Returns when the server does not stream its state.
        grpc::watch(&mut subject, &service).await;
    }
    loop {
        let Some(turn) = subject.turn().await else {
            return;
        };
        let began = tokio::time::Instant::now();
        let limit = subject.policy.timeout();
        let asked = tokio::time::timeout(limit, probe::once(&mut subject)).await;
        drop(turn);
        subject.took.record(began.elapsed());
        match asked {
            Ok(Ok(())) => subject.found(Verdict::Passed, "passed"),
            Ok(Err(failure)) => subject.failed(&failure),
            Err(_) => subject.failed(&Failure::from(format!("no answer within {limit:?}"))),
        }
        tokio::time::sleep(subject.jittered(subject.policy.interval())).await;
    }
}

/// Why a check did not pass.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) what: String,
    /// No connection could be made.
    unreachable: bool,
}

// === impl Subject ===

impl Subject {
    pub(super) fn new(
        policy: HealthPolicy,
        state: Arc<EndpointState>,
        config: PoolConfig,
        connect: Arc<dyn Connect>,
        limit: Arc<Semaphore>,
        service: &Arc<str>,
        recorder: &Recorder,
    ) -> Self {
        let result = |result| {
            let labels = [(names::SERVICE, &**service), (names::RESULT, result)];
            recorder.counter(names::HEALTH_CHECKS, &labels)
        };
        Self {
            passed: result("passed"),
            failed: result("failed"),
            took: recorder.histogram(
                names::HEALTH_CHECK_DURATION,
                &[(names::SERVICE, &**service)],
            ),
            pool: None,
            policy,
            config,
            connect,
            state,
            limit,
            service: service.clone(),
        }
    }

    /// Waits for its turn; `None` when there will be none.
    pub(super) async fn turn(&self) -> Option<Turn> {
        Some(Turn {
            _backend: self.limit.clone().acquire_owned().await.ok()?,
            _process: PROCESS.acquire().await.ok()?,
        })
    }

    /// The connections of the checks: one, kept between them, and made anew after a failure, since
    /// a dead connection must not answer for its endpoint.
    pub(super) fn pool(&mut self) -> &EndpointPool {
        let (config, connect) = (&self.config, &self.connect);
        self.pool
            .get_or_insert_with(|| EndpointPool::new(config.clone(), connect.clone()))
    }

    /// The pause around `mean`, so that the checks of many callers do not meet.
    pub(super) fn jittered(&self, mean: Duration) -> Duration {
        let share = f64::from(self.policy.jitter_percent().min(100)) / 100.0;
        mean.mul_f64(1.0 + share * (2.0 * fastrand::f64() - 1.0))
            // Whatever the policy says: a check without a pause is an attack.
            .max(Duration::from_millis(10))
    }

    pub(super) fn failed(&mut self, failure: &Failure) {
        self.pool = None;
        if failure.unreachable && self.policy.port().is_none() {
            self.state.connect_failed(runtime::now());
        }
        self.found(Verdict::Failed, &failure.what);
    }

    /// Tells the endpoint's state what was found, and the log what that changed.
    pub(super) fn found(&self, verdict: Verdict, what: &str) {
        let passed = matches!(verdict, Verdict::Passed | Verdict::Serving);
        let counter = if passed { &self.passed } else { &self.failed };
        counter.increment(1);
        let timing = self.policy.timing();
        let (change, restored) = self.state.checked(verdict, timing, runtime::now());
        if passed && self.policy.port().is_none() {
            // Who answers can be connected to, whatever the last call met.
            self.state.connected(runtime::now());
        }
        let (service, endpoint) = (&*self.service, self.state.addr());
        match change {
            Some(Change::Unhealthy) => {
                tracing::warn!(service, %endpoint, what, "endpoint unhealthy: its checks fail");
            }
            Some(Change::Healthy) => {
                tracing::info!(service, %endpoint, "endpoint healthy again");
            }
            None => {}
        }
        if restored {
            tracing::info!(service, %endpoint, "ejection ended by a health check");
        }
    }

    pub(super) fn say(&self, what: &str) {
        tracing::info!(service = &*self.service, endpoint = %self.state.addr(), "{what}");
    }
}

// === impl Failure ===

impl From<String> for Failure {
    fn from(what: String) -> Self {
        Self {
            what,
            unreachable: false,
        }
    }
}

impl From<MeshError> for Failure {
    fn from(error: MeshError) -> Self {
        Self {
            unreachable: error.kind() == ErrorKind::Connect,
            what: format!("{error:#}"),
        }
    }
}
