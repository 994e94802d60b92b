use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use mesh_core::balance::{EndpointSet, EndpointState, InFlight, LoadReport, Outcome};
use mesh_core::classify::FailureKind;
use mesh_core::error::ErrorKind;
use mesh_core::metadata;
use mesh_core::policy::BalancePolicy;
use mesh_core::policy::model::Algorithm;

use crate::context::CallContext;
use crate::ejection::{self, Outliers};
use crate::live_view::{BackendView, Endpoint};
use crate::metrics::Ended;
use crate::runtime;

/// Which endpoint, and where what is said of it goes.
#[derive(Clone)]
pub(crate) enum At {
    Fixed {
        set: EndpointSet,
        ix: usize,
        policy: Arc<BalancePolicy>,
    },
    /// Of a view, which keeps all the rest: one reference for an attempt to hold.
    Mesh {
        backend: Arc<BackendView>,
        ix: usize,
    },
}

/// One attempt at one endpoint: in flight while it exists, recorded once.
pub(crate) struct Guard {
    at: At,
    started: Instant,
    /// Time to the response's headers, once there are any.
    headers: Option<Duration>,
    recorded: bool,
    call: Option<CallContext>,
    _in_flight: InFlight,
}

// === impl At ===

impl At {
    fn state(&self) -> Option<&Arc<EndpointState>> {
        match self {
            Self::Fixed { set, ix, .. } => set.get(*ix),
            Self::Mesh { backend, ix } => backend.set().get(*ix),
        }
    }

    fn policy(&self) -> &BalancePolicy {
        match self {
            Self::Fixed { policy, .. } => policy,
            Self::Mesh { backend, .. } => backend.policy().balance(),
        }
    }

    fn record(&self, took: Duration, outcome: Outcome, now: Instant) {
        if let Some(state) = self.state() {
            state.record_with(self.policy(), took, outcome, now);
        }
    }

    fn mesh(&self) -> Option<(&Endpoint, &Outliers, usize)> {
        match self {
            Self::Fixed { .. } => None,
            Self::Mesh { backend, ix } => Some((backend.endpoint(*ix)?, backend.outliers(), *ix)),
        }
    }

    pub(super) fn ix(&self) -> usize {
        match self {
            Self::Fixed { ix, .. } | Self::Mesh { ix, .. } => *ix,
        }
    }
}

// === impl Guard ===

impl Guard {
    pub(super) fn begin(at: At, call: Option<CallContext>) -> Option<Self> {
        Some(Self {
            _in_flight: at.state()?.begin(),
            at,
            started: call.as_ref().map_or_else(runtime::now, CallContext::now),
            headers: None,
            recorded: false,
            call,
        })
    }

    fn now(&self) -> Instant {
        self.call
            .as_ref()
            .map_or_else(runtime::now, CallContext::now)
    }

    /// Headers have come; how the attempt went is not known yet.
    pub(super) fn headers(&mut self, headers: &HeaderMap) {
        self.reported(headers);
        self.headers = Some(self.now().saturating_duration_since(self.started));
        // Whatever the answer says, the way to the endpoint works.
        if let Some(state) = self.at.state()
            && !state.is_reachable()
        {
            state.answered();
        }
    }

    /// Takes the endpoint's report of its load, if calls go by it.
    fn reported(&self, headers: &HeaderMap) {
        let policy = self.at.policy();
        if policy.algorithm() != Algorithm::ClientWeighted {
            return;
        }
        let binary = headers.get(metadata::LOAD_BIN);
        let report = binary.and_then(|value| LoadReport::from_binary(value.as_bytes()));
        let report = report.or_else(|| {
            let text = headers.get(metadata::LOAD)?;
            LoadReport::from_header(text.as_bytes())
        });
        if let (Some(report), Some(state)) = (report, self.at.state()) {
            state.report(policy, &report, self.now());
        }
    }

    /// How the attempt went.
    pub(super) fn record(&mut self, ended: Ended, headers: Option<&HeaderMap>) {
        if std::mem::replace(&mut self.recorded, true) {
            return;
        }
        let now = self.now();
        let took = self
            .headers
            .unwrap_or_else(|| now.saturating_duration_since(self.started));
        let outcome = if ended.class.is_endpoint_failure() {
            Outcome::Failure {
                retry_after: headers.and_then(retry_after),
            }
        } else if ended.class.is_failure() {
            // The peer's mesh or ours answered: no word about how fast the endpoint is.
            Outcome::Cancelled
        } else {
            Outcome::Success
        };
        self.at.record(took, outcome, now);
        if let (true, Some((endpoint, ..))) = (ended.class.is_failure(), self.at.mesh()) {
            endpoint.failed_with(ended);
        }
    }

    /// Whether connections to the endpoint can be made, as far as this error says.
    pub(super) fn connect_evidence(&self, error: &mesh_core::error::MeshError) {
        let Some(state) = self.at.state() else { return };
        let flags = error.flags();
        match error.kind() {
            // A refused stream is one on a connection that was made.
            ErrorKind::Connect if !flags.refused => state.connect_failed(self.now()),
            ErrorKind::Connect | ErrorKind::Tls | ErrorKind::Identity => {
                state.connection_broke(self.now());
            }
            _ if flags.broken => state.connection_broke(self.now()),
            _ => {}
        }
    }

    /// A status came in trailers: what the layers above could not see in the head.
    pub(super) fn trailers(&mut self, ended: Ended, trailers: &HeaderMap) {
        let now = match &self.call {
            Some(call) => call.tick(),
            None => runtime::now(),
        };
        self.reported(trailers);
        self.record(ended, Some(trailers));
        if let Some((_, outliers, ix)) = self.at.mesh() {
            ejection::record(outliers, ix, ended, now);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.recorded {
            return;
        }
        // Dropped: nobody has read the clock for this.
        let now = runtime::now();
        let (took, outcome) = match self.headers {
            // The caller stopped reading after the head: the head's time is good.
            Some(took) => (took, Outcome::Success),
            None => {
                let late = self
                    .call
                    .as_ref()
                    .and_then(CallContext::deadline)
                    .is_some_and(|deadline| deadline <= now);
                let took = now.saturating_duration_since(self.started);
                if late {
                    // Cut off by the deadline: the endpoint was too slow, and the detector below
                    // has not seen it, since its future was dropped with this one.
                    if let Some((endpoint, outliers, ix)) = self.at.mesh() {
                        let ended = Ended {
                            class: mesh_core::classify::Class::Failure(FailureKind::Timeout),
                            code: Ended::of_kind(ErrorKind::Deadline),
                        };
                        endpoint.failed_with(ended);
                        ejection::record(outliers, ix, ended, now);
                    }
                    (took, Outcome::Failure { retry_after: None })
                } else {
                    (took, Outcome::Cancelled)
                }
            }
        };
        self.at.record(took, outcome, now);
    }
}

/// How long the endpoint asked its callers to wait: `Retry-After` in seconds, or gRPC's pushback.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok())
    };
    number(metadata::RETRY_PUSHBACK_MS)
        .map(Duration::from_millis)
        .or_else(|| number(http::header::RETRY_AFTER).map(Duration::from_secs))
}
