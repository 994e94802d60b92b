//! One run of a trace: endpoints in memory, a mesh, and the way into it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::Authority;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_core::policy::{Layer, Source};
use mesh_tower::body::MeshBody;
use mesh_tower::server::ServerHandle;
use mesh_tower::testkit::{Seen, TestEndpoint, TestNet, begin_windows};
use mesh_tower::transport::{Accept, BoxIo};
use mesh_tower::{Mesh, MeshClient, MeshError};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tower_service::Service as _;

use super::super::Outbound;
use super::trace::{Behaviour, Call, Event, Trace};

const SERVICE: &str = "service: shop/reviews\nendpoints: { static: [\
    { address: \"10.0.0.1:80\", labels: { version: v1 } }, { address: \"10.0.0.2:80\", labels: { version: v1 } }, \
    { address: \"10.0.0.3:80\", labels: { version: v2 } }, { address: \"10.0.0.4:80\", labels: { version: v2 } }] }\n\
    ---\nservice: shop/reviews-v1\nsubsetOf: reviews\nselector: { version: v1 }\n\
    ---\nservice: shop/reviews-v2\nsubsetOf: reviews\nselector: { version: v2 }\n";

/// How the application calls.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    Library,
    Shim,
}

/// What came of a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// `200`, `503 M2006`, `grpc 14`, or `broken` for an answer that ended too early.
    pub(super) end: String,
    body: usize,
    cookie: bool,
    began: Duration,
    took: Duration,
}

/// All that a run shows.
#[derive(Default)]
pub(super) struct Record {
    pub(super) calls: Vec<Outcome>,
    pub(super) endpoints: BTreeMap<char, Vec<String>>,
    /// Counters of the mesh that say what was decided.
    pub(super) decisions: BTreeMap<String, u64>,
}

/// Where a call goes in.
#[derive(Clone)]
enum Entrance {
    Library(MeshClient),
    Shim(SendRequest<MeshBody>),
}

/// A listener in memory.
struct Memory(mpsc::Receiver<BoxIo>);

/// Calls until the trace is over, and all answers are there.
pub(super) async fn play(trace: &Trace, way: Way) -> Record {
    begin_windows().await;
    let net = TestNet::new();
    let endpoints: BTreeMap<_, _> = ('a'..='d')
        .zip(1..)
        .map(|(name, n)| (name, net.endpoint(&format!("10.0.0.{n}:80"))))
        .collect();
    let mesh = net.mesh("shop/web").build().unwrap();
    let (entrance, _server) = enter(&mesh, way).await;
    // Whatever was drawn on the way in.
    fastrand::seed(11);
    let start = Instant::now();
    let mut calls = Vec::new();
    for (at, event) in &trace.events {
        sleep_until(start + *at).await;
        match event {
            Event::Policy(text) => apply(&mesh, text),
            Event::Endpoint(name, behaviour) => behave(&endpoints[name], behaviour),
            Event::Call(call) => {
                calls.push(tokio::spawn(make(entrance.clone(), call.clone(), start)))
            }
        }
    }
    let mut record = Record::default();
    for call in calls {
        record.calls.push(call.await.unwrap());
    }
    for (name, endpoint) in endpoints {
        let seen = endpoint.seen().iter().map(line).collect();
        record.endpoints.insert(name, seen);
    }
    record.decisions = decisions(&mesh.metrics_text());
    record
}

async fn enter(mesh: &Mesh, way: Way) -> (Entrance, Option<ServerHandle>) {
    let client = mesh.client("shop/reviews");
    if let Way::Library = way {
        return (Entrance::Library(client), None);
    }
    let named = Authority::from_static("reviews.shop").try_into().unwrap();
    let (connect, accept) = mpsc::channel(1);
    let server = mesh.server().accept(Memory(accept));
    let server = server.forward_proxy(Outbound::port(client, named)).unwrap();
    let (near, far) = tokio::io::duplex(1 << 20);
    connect.send(Box::new(far)).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(near));
    let (mut send, connection) = handshake.await.unwrap();
    tokio::spawn(async move {
        let _listener = connect;
        connection.await
    });
    // Refused where it comes in: the connection is there, and has drawn its numbers.
    let refused = Request::connect("reviews.shop:80").body(MeshBody::empty());
    let refused = send.send_request(refused.unwrap()).await.unwrap();
    assert_eq!(refused.status(), 400);
    (Entrance::Shim(send), Some(server))
}

fn apply(mesh: &Mesh, text: &str) {
    let text = format!("{SERVICE}---\n{text}");
    let loaded = mesh_core::policy::text::load(&[Source::new("trace.yaml", text)]);
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    mesh.store().apply(Layer::File, loaded.resources).unwrap();
}

fn behave(endpoint: &TestEndpoint, behaviour: &Behaviour) {
    match behaviour {
        Behaviour::Refuse => endpoint.kill(),
        Behaviour::Reply(reply) => {
            endpoint.revive();
            endpoint.reply(reply.clone());
        }
    }
}

async fn make(entrance: Entrance, call: Call, start: Instant) -> Outcome {
    let began = start.elapsed();
    let (end, body, cookie) = match entrance {
        Entrance::Library(mut client) => match client.call(call.request()).await {
            Ok(response) => read(response).await,
            Err(error) => failed(&error),
        },
        Entrance::Shim(mut send) => match send.send_request(call.request()).await {
            Ok(response) => read(response.map(MeshBody::new)).await,
            Err(error) => (format!("no answer: {error}"), 0, false),
        },
    };
    Outcome {
        end,
        body,
        cookie,
        began,
        took: start.elapsed() - began,
    }
}

/// An error of the library is what the shim answers for it.
fn failed(error: &MeshError) -> (String, usize, bool) {
    (
        format!("{} {}", error.http_status().as_u16(), error.code()),
        0,
        false,
    )
}

async fn read(response: Response<MeshBody>) -> (String, usize, bool) {
    let (head, body) = response.into_parts();
    let cookie = head.headers.contains_key("set-cookie");
    let text = |name: &str| Some(head.headers.get(name)?.to_str().ok()?.to_owned());
    let mut end = head.status.as_u16().to_string();
    if let Some(code) = text("mesh-reason") {
        end = format!("{end} {code}");
    }
    let ours = text("mesh-reason").is_some();
    let mut grpc = text("grpc-status");
    let body = match body.collect().await {
        Ok(collected) => {
            let trailers = collected.trailers();
            grpc = trailers
                .and_then(|fields| Some(fields.get("grpc-status")?.to_str().ok()?.to_owned()))
                .or(grpc);
            collected.to_bytes().len()
        }
        Err(_) => return ("broken".into(), 0, cookie),
    };
    if let Some(status) = grpc {
        end = format!("{end} grpc {status}");
    }
    // The text of an error is not part of the decision.
    (end, if ours { 0 } else { body }, cookie)
}

/// What an endpoint was asked, and by which decision.
fn line(seen: &Seen) -> String {
    let named = [
        "x-mesh-attempt",
        "x-mesh-timeout-ms",
        "grpc-timeout",
        "x-mesh-routed",
        "x-mesh-criticality",
        "grpc-previous-rpc-attempts",
        "x-user",
    ];
    let fields: Vec<_> = named.iter().map(|name| seen.header(*name)).collect();
    format!(
        "{} {} {} {fields:?}",
        seen.method,
        seen.uri.path(),
        seen.body.len()
    )
}

/// Retries, ejections, breakers, hedges and refusals, by their counters' names and labels.
fn decisions(metrics: &str) -> BTreeMap<String, u64> {
    let words = [
        "retr", "eject", "breaker", "hedge", "thrott", "ceiling", "fault",
    ];
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    let counted = lines.filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        let metric = name.split('{').next()?;
        let wanted = metric.ends_with("_total") && words.iter().any(|word| metric.contains(word));
        let value = value.parse::<u64>().ok()?;
        (wanted && value > 0).then(|| (name.to_owned(), value))
    });
    counted.collect()
}

impl Accept for Memory {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(BoxIo, SocketAddr)>> {
        let caller = SocketAddr::from(([127, 0, 0, 1], 1));
        match self.0.poll_recv(cx) {
            Poll::Ready(Some(io)) => Poll::Ready(Ok((io, caller))),
            _ => Poll::Pending,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([127, 0, 0, 1], 7140)))
    }
}
