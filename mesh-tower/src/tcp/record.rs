use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use mesh_core::error::MeshError;
use mesh_core::identity::SpiffeId;
use mesh_core::telemetry::names;

use super::copy::End;
use super::meter::Meter;
use crate::runtime;
use crate::telemetry::{GaugeGuard, Recorder};

/// One connection that is open: counted, and told of in one line, when it is dropped.
pub(super) struct Record {
    direction: &'static str,
    service: Arc<str>,
    recorder: Recorder,
    meter: Arc<Meter>,
    started: Instant,
    pub(super) peer: Option<SpiffeId>,
    pub(super) from: Option<SocketAddr>,
    pub(super) to: SocketAddr,
    pub(super) end: Option<End>,
    _open: GaugeGuard,
}

/// Counts a connection by what came of it.
pub(super) fn count(recorder: &Recorder, direction: &str, service: &str, result: &str) {
    let labels = [
        (names::DIRECTION, direction),
        (names::SERVICE, service),
        (names::RESULT, result),
    ];
    recorder
        .counter(names::TCP_CONNECTIONS, &labels)
        .increment(1);
}

/// The line of a connection that was not opened.
pub(super) fn refused_line(from: SocketAddr, error: &MeshError) {
    tracing::info!(
        target: "mesh::access",
        protocol = "tcp",
        direction = "outbound",
        %from,
        service = error.service().unwrap_or("-"),
        end = "refused",
        code = %error.code(),
        "{error}"
    );
}

// === impl Record ===

impl Record {
    pub(super) fn open(
        recorder: &Recorder,
        direction: &'static str,
        service: Arc<str>,
        to: SocketAddr,
    ) -> Self {
        count(recorder, direction, &service, "opened");
        let labels = [(names::DIRECTION, direction), (names::SERVICE, &*service)];
        Self {
            _open: recorder.gauge(names::TCP_OPEN, &labels).enter(),
            direction,
            service,
            recorder: recorder.clone(),
            meter: Arc::default(),
            started: runtime::now(),
            peer: None,
            from: None,
            to,
            end: None,
        }
    }

    pub(super) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let (sent, received) = (self.meter.sent(), self.meter.received());
        let took = runtime::now().saturating_duration_since(self.started);
        let labels = [
            (names::DIRECTION, self.direction),
            (names::SERVICE, &*self.service),
        ];
        self.recorder
            .histogram(names::TCP_DURATION, &labels)
            .record(took);
        for (way, bytes) in [("sent", sent), ("received", received)] {
            let labels = [labels[0], labels[1], (names::WAY, way)];
            self.recorder
                .counter(names::TCP_BYTES, &labels)
                .increment(bytes);
        }
        tracing::info!(
            target: "mesh::access",
            application = self.recorder.of(),
            protocol = "tcp",
            direction = self.direction,
            service = &*self.service,
            peer = self.peer.as_ref().map_or("-", |peer| peer.as_str()),
            from = self.from.map(tracing::field::display),
            to = %self.to,
            sent,
            received,
            ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            end = self.end.map_or("dropped", End::label),
        );
    }
}
