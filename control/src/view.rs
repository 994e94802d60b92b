//! What is shown of the server's state, as plain rows: the JSON of `meshctl -o json` and of the
//! page's API, and what the tables are printed from.

use std::collections::BTreeMap;

use mesh_grpc::pb::control as pb;
use serde::Serialize;

use crate::report::quantile_us;

/// One edge over the window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Edge {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) route: String,
    pub(crate) calls: u64,
    pub(crate) calls_per_second: f64,
    pub(crate) failures: u64,
    pub(crate) retries: u64,
    pub(crate) rescued: u64,
    pub(crate) p50_us: Option<u64>,
    pub(crate) p95_us: Option<u64>,
    pub(crate) p99_us: Option<u64>,
    pub(crate) endpoints: u32,
    pub(crate) ejected: u32,
    pub(crate) mtls: bool,
    pub(crate) codes: BTreeMap<String, u64>,
}

/// One endpoint, with how each client sees it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Endpoint {
    pub(crate) service: String,
    pub(crate) addr: String,
    pub(crate) instance: String,
    pub(crate) identity: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) zone: String,
    pub(crate) weight: u32,
    /// Seconds until the lease ends; `null` for an endpoint that has none.
    pub(crate) lease_left_seconds: Option<u32>,
    pub(crate) views: Vec<EndpointView>,
}

/// How one client sees one endpoint.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct EndpointView {
    pub(crate) from: String,
    pub(crate) instance: String,
    pub(crate) state: &'static str,
    pub(crate) reason: String,
    pub(crate) in_flight: u32,
    pub(crate) latency_us: u64,
    pub(crate) calls: u64,
    pub(crate) failures: u64,
    pub(crate) last_code: String,
}

/// One connected process.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Client {
    pub(crate) service: String,
    pub(crate) instance: String,
    pub(crate) addr: String,
    pub(crate) identity: String,
    pub(crate) connected_since_unix: i64,
    pub(crate) revision: String,
    pub(crate) behind: bool,
    pub(crate) resources_sent: u64,
    pub(crate) refused: Vec<Refusal>,
}

/// Why a client refused an update.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Refusal {
    pub(crate) kind: String,
    pub(crate) error: String,
}

/// One result of `check`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Finding {
    pub(crate) severity: &'static str,
    pub(crate) code: String,
    pub(crate) subject: String,
    pub(crate) message: String,
    pub(crate) next: String,
}

// === From the wire ===

impl Edge {
    pub(crate) fn new(row: pb::StatRow, window_seconds: u32) -> Self {
        let edge = row.edge.unwrap_or_default();
        let latency = edge.latency.unwrap_or_default();
        let window = f64::from(window_seconds.max(1));
        Self {
            from: row.from,
            to: edge.to,
            route: edge.route,
            calls: edge.calls,
            calls_per_second: (edge.calls as f64 / window * 10.0).round() / 10.0,
            failures: edge.failures,
            retries: edge.retries,
            rescued: edge.rescued,
            p50_us: quantile_us(&latency, 0.50),
            p95_us: quantile_us(&latency, 0.95),
            p99_us: quantile_us(&latency, 0.99),
            endpoints: row.endpoints,
            ejected: row.ejected,
            mtls: edge.mtls,
            codes: edge.codes.into_iter().collect(),
        }
    }
}

impl From<pb::EndpointRow> for Endpoint {
    fn from(row: pb::EndpointRow) -> Self {
        Self {
            service: row.service,
            addr: row.addr,
            instance: row.instance,
            identity: row.identity,
            labels: row.labels.into_iter().collect(),
            zone: row.zone,
            weight: row.weight,
            lease_left_seconds: (row.lease_left_seconds > 0).then_some(row.lease_left_seconds),
            views: row.views.into_iter().map(EndpointView::from).collect(),
        }
    }
}

impl From<pb::EndpointView> for EndpointView {
    fn from(view: pb::EndpointView) -> Self {
        let report = view.report.unwrap_or_default();
        Self {
            from: view.from,
            instance: view.instance,
            state: state_name(report.state()),
            reason: report.reason,
            in_flight: report.in_flight,
            latency_us: report.ewma_us,
            calls: report.calls,
            failures: report.failures,
            last_code: report.last_code,
        }
    }
}

impl From<pb::ClientRow> for Client {
    fn from(row: pb::ClientRow) -> Self {
        let refused = row
            .types
            .into_iter()
            .filter(|each| !each.nack_error.is_empty());
        let kind = |url: &str| url.rsplit('.').next().unwrap_or(url).to_owned();
        Self {
            service: row.service,
            instance: row.instance,
            addr: row.addr,
            identity: row.identity,
            connected_since_unix: row.connected_since_unix,
            revision: row.revision,
            behind: row.behind,
            resources_sent: row.resources_sent,
            refused: refused
                .map(|each| Refusal {
                    kind: kind(&each.type_url),
                    error: each.nack_error,
                })
                .collect(),
        }
    }
}

impl From<pb::Finding> for Finding {
    fn from(finding: pb::Finding) -> Self {
        Self {
            severity: match finding.severity() {
                pb::Severity::Ok => "ok",
                pb::Severity::Warning => "warning",
                pb::Severity::Error => "error",
            },
            code: finding.code,
            subject: finding.subject,
            message: finding.message,
            next: finding.next,
        }
    }
}

impl Client {
    /// In one word.
    pub(crate) fn state(&self) -> &'static str {
        match (self.refused.is_empty(), self.behind) {
            (false, _) => "REFUSED",
            (true, true) => "behind",
            (true, false) => "current",
        }
    }
}

impl Endpoint {
    /// In one word: the worst that a client says, and of how many.
    pub(crate) fn state(&self) -> String {
        let worst = ["ejected", "unreachable", "probing"]
            .into_iter()
            .find_map(|state| {
                let count = self.views.iter().filter(|view| view.state == state).count();
                (count > 0).then_some((state, count))
            });
        match worst {
            Some((state, count)) => format!("{state} {count}/{}", self.views.len()),
            None if self.views.is_empty() => "unused".to_owned(),
            None => "available".to_owned(),
        }
    }

    /// What explains that state.
    pub(crate) fn why(&self) -> String {
        let out = self.views.iter().filter(|view| view.state != "available");
        let said = out
            .filter(|view| !view.reason.is_empty())
            .map(|view| view.reason.clone())
            .next();
        let last = self
            .views
            .iter()
            .map(|view| &view.last_code)
            .find(|code| !code.is_empty());
        said.or_else(|| last.map(|code| format!("last failure {code}")))
            .unwrap_or_default()
    }
}

pub(crate) fn state_name(state: pb::EndpointHealth) -> &'static str {
    match state {
        pb::EndpointHealth::Available => "available",
        pb::EndpointHealth::Ejected => "ejected",
        pb::EndpointHealth::Probing => "probing",
        pb::EndpointHealth::Unreachable => "unreachable",
        pb::EndpointHealth::Unhealthy => "unhealthy",
    }
}
