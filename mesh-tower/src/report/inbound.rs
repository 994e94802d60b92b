use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use mesh_core::{identity::SpiffeId, report::Report, telemetry::names};

use super::peer::PeerStats;
use super::sources::{Source, Sources};
use crate::telemetry::{Counter, Gauge, GaugeGuard, OTHER, Recorder};

/// The most peers that are told apart; calls of any further one are counted under `_other`.
const MAX_PEERS: usize = 256;
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

// === impl InboundStats ===

impl InboundStats {
    pub(crate) fn new(recorder: &Recorder) -> Self {
        let nobody = PeerStats::new(recorder, PLAINTEXT, PLAINTEXT);
        Self::with_nobody(recorder, nobody)
    }

    /// For callers outside the mesh: no policy of theirs is passed by.
    pub(crate) fn outside(recorder: &Recorder) -> Self {
        let nobody = PeerStats::new(recorder, OUTSIDE, OUTSIDE).without_unrouted();
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

#[cfg(test)]
mod tests {
    use mesh_core::classify::{Class, FailureKind};
    use mesh_core::error::{Code, ErrorKind};

    use super::*;
    use crate::report::{Outcome, Status};

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
