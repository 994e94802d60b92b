use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use mesh_core::{
    classify::Class,
    error::{Code, ErrorKind},
    identity::SpiffeId,
    report::{InboundReport, Report},
    telemetry::names,
};

use super::sources::{Source, Sources};
use super::stamps::Stamps;
use crate::telemetry::{Counter, Gauge, GaugeGuard, Histogram, OTHER, Recorder};

/// The most peers that are told apart; calls of any further one are counted under `_other`.
const MAX_PEERS: usize = 256;
/// The most codes that are told apart for one peer.
const MAX_CODES: usize = 32;
/// How a peer without a certificate is named.
const PLAINTEXT: &str = "plaintext";
/// Who calls an ingress.
const OUTSIDE: &str = "outside";

/// Who called this process and what came of it: metrics, and counts since the last report. Clones
/// share.
#[derive(Clone)]
pub(crate) struct InboundStats {
    shared: Arc<Shared>,
}

struct Shared {
    recorder: Recorder,
    peers: RwLock<HashMap<SpiffeId, Arc<PeerStats>>>,
    plaintext: Arc<PeerStats>,
    other: Arc<PeerStats>,
    plaintext_peers: AtomicU64,
    plaintext_total: Counter,
    sources: Sources,
    in_flight: Gauge,
}

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

// === impl InboundStats ===

impl InboundStats {
    pub(crate) fn new(recorder: &Recorder) -> Self {
        let nobody = PeerStats::new(recorder, PLAINTEXT, PLAINTEXT);
        Self::with_nobody(recorder, nobody)
    }

    /// For callers outside the mesh: no policy of theirs is passed by.
    pub(crate) fn outside(recorder: &Recorder) -> Self {
        let mut nobody = PeerStats::new(recorder, OUTSIDE, OUTSIDE);
        nobody.unrouted = Counter::noop();
        Self::with_nobody(recorder, nobody)
    }

    /// `nobody` is who has no certificate.
    fn with_nobody(recorder: &Recorder, nobody: PeerStats) -> Self {
        Self {
            shared: Arc::new(Shared {
                plaintext: Arc::new(nobody),
                other: Arc::new(PeerStats::new(recorder, OTHER, OTHER)),
                plaintext_total: recorder
                    .counter(names::PLAINTEXT_PEERS, &[(names::DIRECTION, "inbound")]),
                in_flight: recorder.gauge(names::SERVER_IN_FLIGHT, &[]),
                recorder: recorder.clone(),
                peers: RwLock::default(),
                plaintext_peers: AtomicU64::new(0),
                sources: Sources::default(),
            }),
        }
    }

    /// The counts of a peer; `None` is one without a certificate.
    pub(crate) fn peer(&self, peer: Option<&SpiffeId>) -> Arc<PeerStats> {
        let shared = &*self.shared;
        let Some(id) = peer else {
            return shared.plaintext.clone();
        };
        {
            let peers = shared.peers.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(stats) = peers.get(id) {
                return stats.clone();
            }
        }
        let mut peers = shared.peers.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(stats) = peers.get(id) {
            return stats.clone();
        }
        if peers.len() >= MAX_PEERS {
            return shared.other.clone();
        }
        let from = match id.service() {
            Some(service) => service.to_string(),
            None => id.as_str().to_owned(),
        };
        let stats = Arc::new(PeerStats::new(&shared.recorder, id.as_str(), &from));
        peers.insert(id.clone(), stats.clone());
        stats
    }

    /// A peer connected without TLS. Each source is named once in the log: these are the ones that
    /// a switch to strict would cut off. Its calls are counted by what is answered.
    pub(crate) fn plaintext_peer(&self, source: IpAddr) -> Option<Arc<Source>> {
        self.shared.plaintext_peers.fetch_add(1, Relaxed);
        self.shared.plaintext_total.increment(1);
        let (counts, is_new) = self.shared.sources.connected(source)?;
        if is_new {
            tracing::info!(target: "mesh::server", %source, "peer without TLS");
        }
        Some(counts)
    }

    /// Counts one request in work until the answer is dropped.
    pub(crate) fn enter(&self) -> GaugeGuard {
        self.shared.in_flight.enter()
    }

    /// Adds what happened since the last call.
    pub(crate) fn fill(&self, report: &mut Report) {
        let shared = &*self.shared;
        report.plaintext_peers += shared.plaintext_peers.swap(0, Relaxed);
        report.plaintext_sources.extend(shared.sources.take());
        {
            let peers = shared.peers.read().unwrap_or_else(PoisonError::into_inner);
            report
                .inbound
                .extend(peers.values().filter_map(|stats| stats.take()));
        }
        report.inbound.extend(shared.plaintext.take());
        report.inbound.extend(shared.other.take());
        report.inbound.sort_by(|a, b| a.from.cmp(&b.from));
        // A peer that is gone must not keep its place for ever.
        let mut peers = shared.peers.write().unwrap_or_else(PoisonError::into_inner);
        if peers.len() >= MAX_PEERS {
            peers.retain(|_, stats| Arc::strong_count(stats) > 1);
        }
    }
}

impl fmt::Debug for InboundStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboundStats").finish_non_exhaustive()
    }
}

// === impl PeerStats ===

impl PeerStats {
    fn new(recorder: &Recorder, id: &str, from: &str) -> Self {
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

    fn take(&self) -> Option<InboundReport> {
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

#[cfg(test)]
mod tests {
    use mesh_core::classify::FailureKind;

    use super::*;

    const OK: Outcome = Outcome {
        class: Class::Success,
        status: Some(Status::Http(200)),
        error: None,
    };

    fn id(n: usize) -> SpiffeId {
        SpiffeId::parse(&format!("spiffe://mesh.local/ns/shop/sa/s{n}")).unwrap()
    }

    #[test]
    fn a_report_is_the_difference_since_the_last_one() {
        let recorder = Recorder::new();
        let stats = InboundStats::new(&recorder);
        stats.peer(Some(&id(1))).record(OK);
        stats.peer(Some(&id(1))).record(Outcome {
            class: Class::ClientError,
            status: Some(Status::Http(403)),
            error: Some((ErrorKind::Denied, Code::DENIED)),
        });
        stats.peer(None).record(Outcome {
            class: Class::Failure(FailureKind::Unavailable),
            status: Some(Status::Http(503)),
            error: None,
        });
        stats.plaintext_peer(IpAddr::from([127, 0, 0, 1]));
        let text = recorder.render();
        assert!(
            text.contains("mesh_denied_total{from=\"shop/s1\",reason=\"enforced\"} 1"),
            "{text}"
        );

        let mut report = Report::default();
        stats.fill(&mut report);
        assert_eq!(report.plaintext_peers, 1);
        assert_eq!(report.inbound.len(), 2);
        assert_eq!(report.inbound[0].from, "plaintext");
        assert_eq!(report.inbound[0].failures, 1);
        assert_eq!(report.inbound[0].codes["503"], 1);
        assert_eq!(report.inbound[1].calls, 2);
        assert_eq!(report.inbound[1].denied, 1);
        assert_eq!(report.inbound[1].codes["M4001"], 1);

        let mut report = Report::default();
        stats.fill(&mut report);
        assert_eq!(report, Report::default());
    }

    #[test]
    fn peers_beyond_the_bound_are_counted_together() {
        let stats = InboundStats::new(&Recorder::disabled());
        let held: Vec<_> = (0..MAX_PEERS + 5)
            .map(|n| stats.peer(Some(&id(n))))
            .collect();
        for peer in &held {
            peer.record(OK);
        }
        let mut report = Report::default();
        stats.fill(&mut report);
        assert_eq!(report.inbound.len(), MAX_PEERS + 1);
        let other = report.inbound.iter().find(|row| row.from == OTHER).unwrap();
        assert_eq!(other.calls, 5);
    }
}
