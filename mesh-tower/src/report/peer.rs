use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use mesh_core::{
    classify::Class,
    error::{Code, ErrorKind},
    report::InboundReport,
    telemetry::names,
};

use super::stamps::Stamps;
use crate::telemetry::{Counter, Histogram, OTHER, Recorder};

/// The most codes that are told apart for one peer.
const MAX_CODES: usize = 32;

/// The counts of one peer: found once per connection, then a few atomic additions a request.
pub(crate) struct PeerStats {
    /// As the report has it: the SPIFFE id.
    id: String,
    /// As metrics have it: the service.
    from: String,
    recorder: Recorder,
    calls: AtomicU64,
    failures: AtomicU64,
    denied: AtomicU64,
    stamps: Stamps,
    /// Only answers that are not a success: rare where it matters.
    codes: Mutex<BTreeMap<String, u64>>,
    /// The two answers that nearly all requests get, without a look-up.
    http_ok: OnceLock<Counter>,
    grpc_ok: OnceLock<Counter>,
    counters: Mutex<HashMap<Outcome, Counter>>,
    denials: Counter,
    audited: Counter,
    unrouted: Counter,
    duration: Histogram,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Outcome {
    /// What it counts as.
    pub(crate) class: Class,
    /// What the peer was told; `None` if it was told nothing.
    pub(crate) status: Option<Status>,
    /// Set when the mesh answered.
    pub(crate) error: Option<(ErrorKind, Code)>,
}

/// What a peer was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Status {
    Http(u16),
    Grpc(u32),
}

// === impl Status ===

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(status) => write!(f, "{status}"),
            Self::Grpc(code) => write!(f, "grpc-{code}"),
        }
    }
}

// === impl PeerStats ===

impl PeerStats {
    pub(super) fn new(recorder: &Recorder, id: &str, from: &str) -> Self {
        let label = [(names::FROM, from)];
        Self {
            id: id.to_owned(),
            from: from.to_owned(),
            calls: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            denied: AtomicU64::new(0),
            stamps: Stamps::default(),
            codes: Mutex::default(),
            http_ok: OnceLock::new(),
            grpc_ok: OnceLock::new(),
            counters: Mutex::default(),
            denials: recorder.counter(
                names::DENIED,
                &[(names::FROM, from), (names::REASON, "enforced")],
            ),
            audited: recorder.counter(
                names::DENIED,
                &[(names::FROM, from), (names::REASON, "audit")],
            ),
            unrouted: recorder.counter(names::SERVER_BYPASSED, &label),
            duration: recorder.histogram(names::SERVER_DURATION, &label),
            recorder: recorder.clone(),
        }
    }

    /// The same for one who passes no policy by, wherever it comes from.
    pub(super) fn without_unrouted(mut self) -> Self {
        self.unrouted = Counter::noop();
        self
    }

    /// Whose they are, where there are several meshes in the process.
    pub(crate) fn of(&self) -> Option<&str> {
        self.recorder.of()
    }

    /// Records the time until the answer's headers.
    pub(crate) fn answered(&self, elapsed: Duration) {
        self.duration.record(elapsed);
    }

    /// What its calls say of their routing.
    pub(crate) fn stamps(&self) -> &Stamps {
        &self.stamps
    }

    /// A request came that no policy of the mesh routed.
    pub(crate) fn unrouted(&self) {
        self.unrouted.increment(1);
    }

    /// A request passed that an enforced policy would have denied.
    pub(crate) fn audited(&self) {
        self.audited.increment(1);
    }

    /// Counts one request that ended.
    pub(crate) fn record(&self, outcome: Outcome) {
        self.calls.fetch_add(1, Relaxed);
        if outcome.class.is_failure() {
            self.failures.fetch_add(1, Relaxed);
        }
        if matches!(outcome.error, Some((ErrorKind::Denied, _))) {
            self.denied.fetch_add(1, Relaxed);
            self.denials.increment(1);
        }
        if outcome.class != Class::Success {
            self.count_code(outcome);
        }
        let frequent = match (outcome.status, outcome.error) {
            (Some(Status::Http(200)), None) if outcome.class == Class::Success => {
                Some(&self.http_ok)
            }
            (Some(Status::Grpc(0)), None) => Some(&self.grpc_ok),
            _ => None,
        };
        if let Some(frequent) = frequent {
            frequent.get_or_init(|| self.register(outcome)).increment(1);
            return;
        }
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        counters
            .entry(outcome)
            .or_insert_with(|| self.register(outcome))
            .increment(1);
    }

    fn register(&self, outcome: Outcome) -> Counter {
        let status = outcome.status.map(|status| status.to_string());
        self.recorder.counter(
            names::SERVER_REQUESTS,
            &[
                (names::FROM, self.from.as_str()),
                (names::CLASS, outcome.class.label()),
                (names::STATUS, status.as_deref().unwrap_or("")),
                (
                    names::ERROR_TYPE,
                    outcome.error.map_or("", |(kind, _)| kind.label()),
                ),
            ],
        )
    }

    fn count_code(&self, outcome: Outcome) {
        let code = match (outcome.error, outcome.status) {
            (Some((_, code)), _) => code.to_string(),
            (None, Some(status)) => status.to_string(),
            (None, None) => outcome.class.label().to_owned(),
        };
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        if codes.contains_key(&code) || codes.len() < MAX_CODES {
            *codes.entry(code).or_default() += 1;
        } else {
            *codes.entry(OTHER.to_owned()).or_default() += 1;
        }
    }

    pub(super) fn take(&self) -> Option<InboundReport> {
        let calls = self.calls.swap(0, Relaxed);
        let failures = self.failures.swap(0, Relaxed);
        let denied = self.denied.swap(0, Relaxed);
        let codes = std::mem::take(&mut *self.codes.lock().unwrap_or_else(PoisonError::into_inner));
        let (routed, unrouted) = self.stamps.take();
        if calls == 0 && codes.is_empty() && routed.is_empty() && unrouted == 0 {
            return None;
        }
        Some(InboundReport {
            from: self.id.clone(),
            calls,
            failures,
            denied,
            codes,
            routed,
            unrouted,
        })
    }
}
