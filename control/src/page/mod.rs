//! The page, its read-only JSON API, health and metrics, on plain HTTP and loopback.
//!
//! Three files inside the binary, no build step, nothing from elsewhere. A strict content security
//! policy allows only those files, and names of services, labels and reasons (a peer's choice) are
//! put in as text. On loopback a request must name a loopback host: a page of another site whose
//! name resolves to 127.0.0.1 cannot read the mesh through the visitor's browser.

mod guard;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Json;
use axum::Router;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderValue, StatusCode, header};
use mesh_core::telemetry::names;
use mesh_grpc::pb::control as pb;
use mesh_tower::Mesh;
use serde::{Deserialize, Serialize};

use crate::report::Span;
use crate::server::answers;
use crate::server::state::Shared;
use crate::view::{Client, Edge, Endpoint, Finding};

const EVENTS: usize = 200;

/// What the handlers need.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    pub(crate) shared: Arc<Shared>,
    pub(crate) mesh: Mesh,
    /// False while the server starts or stops.
    pub(crate) ready: Arc<AtomicBool>,
    pub(crate) loopback: bool,
}

/// The routes of the page's listener.
pub(crate) fn router(pages: Pages) -> Router {
    let html = || file("text/html; charset=utf-8", include_str!("index.html"));
    let css = || file("text/css; charset=utf-8", include_str!("page.css"));
    let js = || file("text/javascript; charset=utf-8", include_str!("page.js"));
    let loopback = pages.loopback;
    Router::new()
        .route("/", get(async move || html()))
        .route("/page.css", get(async move || css()))
        .route("/page.js", get(async move || js()))
        .route("/api/check", get(check))
        .route("/api/stat", get(stat))
        .route("/api/endpoints", get(endpoints))
        .route("/api/clients", get(clients))
        .route("/api/events", get(events))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(pages)
        .layer(axum::middleware::from_fn(move |request, next| {
            guard::guard(loopback, request, next)
        }))
}

fn file(kind: &'static str, text: &'static str) -> Response {
    (
        [(header::CONTENT_TYPE, HeaderValue::from_static(kind))],
        text,
    )
        .into_response()
}

async fn ready(State(pages): State<Pages>) -> Response {
    if pages.ready.load(Ordering::Acquire) {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response()
    }
}

async fn metrics(State(pages): State<Pages>) -> Response {
    measure(&pages);
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], pages.mesh.metrics_text()).into_response()
}

/// Sets the gauges that say how the mesh is.
fn measure(pages: &Pages) {
    let recorder = pages.mesh.recorder();
    let set = |name, labels: &[(&'static str, &str)], value: usize| {
        recorder
            .gauge(name, labels)
            .set(u32::try_from(value).unwrap_or(u32::MAX).into());
    };
    let rows = answers::clients(&pages.shared, "").rows;
    let clients: Vec<Client> = rows.into_iter().map(Client::from).collect();
    for state in ["current", "behind", "REFUSED"] {
        let count = clients
            .iter()
            .filter(|client| client.state() == state)
            .count();
        let state = state.to_ascii_lowercase();
        set(names::CONTROL_CLIENTS, &[(names::STATE, &state)], count);
    }
    let instances = pages.shared.read_registry(crate::registry::Registry::len);
    set(names::CONTROL_INSTANCES, &[], instances);
    let findings: Vec<Finding> = answers::check(&pages.shared)
        .into_iter()
        .map(Finding::from)
        .collect();
    for severity in ["warning", "error"] {
        let count = findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count();
        set(names::CONTROL_FINDINGS, &[("severity", severity)], count);
    }
}

async fn check(State(pages): State<Pages>) -> Json<Vec<Finding>> {
    Json(
        answers::check(&pages.shared)
            .into_iter()
            .map(Finding::from)
            .collect(),
    )
}

#[derive(Deserialize)]
struct StatQuery {
    #[serde(default)]
    from: String,
    #[serde(default)]
    to: String,
    #[serde(default)]
    window: String,
}

async fn stat(State(pages): State<Pages>, Query(query): Query<StatQuery>) -> Json<Vec<Edge>> {
    let span = if query.window == "1h" {
        Span::Long
    } else {
        Span::Short
    };
    let ask = pb::StatRequest {
        from: query.from,
        to: query.to,
    };
    let answer = answers::stat(&pages.shared, &ask, span);
    let window = answer.window_seconds;
    Json(
        answer
            .rows
            .into_iter()
            .map(|row| Edge::new(row, window))
            .collect(),
    )
}

#[derive(Deserialize)]
struct ServiceQuery {
    #[serde(default)]
    service: String,
}

async fn endpoints(
    State(pages): State<Pages>,
    Query(query): Query<ServiceQuery>,
) -> Json<Vec<Endpoint>> {
    let answer = answers::endpoints(&pages.shared, &query.service);
    Json(answer.rows.into_iter().map(Endpoint::from).collect())
}

#[derive(Serialize)]
struct Clients {
    revision: String,
    clients: Vec<Client>,
}

async fn clients(State(pages): State<Pages>) -> Json<Clients> {
    let answer = answers::clients(&pages.shared, "");
    let clients = answer.rows.into_iter().map(Client::from).collect();
    Json(Clients {
        revision: answer.revision,
        clients,
    })
}

#[derive(Deserialize)]
struct EventsQuery {
    #[serde(default)]
    after: u64,
}

async fn events(
    State(pages): State<Pages>,
    Query(query): Query<EventsQuery>,
) -> Json<Vec<crate::events::Event>> {
    Json(pages.shared.events(query.after, EVENTS))
}
