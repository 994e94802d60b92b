//! The failure case "config arrives in a non-atomic order": the control server's engine, a member's
//! subscription, the policy store and the client that lives on it, while what is published, sent,
//! received and lost is interleaved at random. In-memory endpoints, paused time.
#![allow(clippy::print_stdout, reason = "figures")]

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use mesh_core::balance::EndpointInfo;
use mesh_core::name::ServiceName;
use mesh_core::policy::text::{Source, load};
use mesh_tower::testkit::{Reply, TestEndpoint, TestNet};
use mesh_tower::{Mesh, MeshBody, MeshClient};
use prost::Message as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

use super::member::Member;
use crate::engine::server::{Config, ConnectionId, Engine};
use crate::pb::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node};
use crate::wire::{self, ENDPOINT_SET, PUSH_ORDER, SERVICE_POLICY};

const SEEDS: u64 = 300;
const EPOCHS: usize = 8;
const BACKENDS: usize = 3;
const HOST: &str = "reviews.shop";

/// One thing to publish, or to take back.
type Change = (&'static str, String, Option<Bytes>);

fn backend(ix: usize) -> ServiceName {
    ServiceName::new("shop", format!("reviews-v{ix}")).unwrap()
}

/// The route over these backends with these weights, as the control server tells it.
fn policy(weights: &[(usize, u32)]) -> Bytes {
    let split: Vec<_> = weights
        .iter()
        .map(|(ix, weight)| format!("reviews-v{ix}: {weight}"))
        .collect();
    let mut text = format!(
        "service: shop/reviews\nroute:\n- backends: {{ {} }}\n",
        split.join(", ")
    );
    for (ix, _) in weights {
        text.push_str(&format!("---\nservice: shop/reviews-v{ix}\n"));
    }
    let loaded = load(&[Source::new("test.yaml", text.as_str())]);
    assert!(loaded.diagnostics.0.is_empty(), "{:?}", loaded.diagnostics);
    let name = ServiceName::new("shop", "reviews").unwrap();
    wire::service_policy(&name, loaded.resources.iter().map(|each| &**each))
        .encode_to_vec()
        .into()
}

struct World {
    rng: fastrand::Rng,
    engine: Engine,
    connection: ConnectionId,
    member: Member,
    wanted: watch::Receiver<Arc<BTreeSet<ServiceName>>>,
    mesh: Mesh,
    client: MeshClient,
    endpoints: Vec<TestEndpoint>,
    requests: VecDeque<DeltaDiscoveryRequest>,
    responses: VecDeque<DeltaDiscoveryResponse>,
    changes: VecDeque<Change>,
    /// Taken back once the changes are out: make before break.
    last: Vec<Change>,
    used: BTreeSet<usize>,
    calls: Vec<JoinHandle<u16>>,
    looked: usize,
    broken: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let net = TestNet::new();
        let endpoints: Vec<_> = (0..BACKENDS)
            .map(|ix| net.endpoint(&format!("10.0.{ix}.1:80")))
            .collect();
        for endpoint in &endpoints {
            endpoint.reply(Reply::new(200, "ok"));
        }
        let mesh = net.mesh("shop/web").expect_feed(true).build().unwrap();
        let mut engine = Engine::new(Config {
            order: PUSH_ORDER.map(String::from).to_vec(),
            ..Config::default()
        });
        let connection = engine.connect();
        let feed = mesh.feed();
        let name = ServiceName::new("shop", "web").unwrap();
        let credentials = mesh.credentials().clone();
        let mut member = Member::new(name, feed.clone(), credentials, Node::default());
        member.reconnect();
        Self {
            rng: fastrand::Rng::with_seed(seed),
            engine,
            connection,
            member,
            wanted: feed.wanted(),
            client: mesh.client(HOST),
            mesh,
            endpoints,
            requests: VecDeque::new(),
            responses: VecDeque::new(),
            changes: VecDeque::new(),
            last: Vec::new(),
            used: BTreeSet::new(),
            calls: Vec::new(),
            looked: 0,
            broken: 0,
        }
    }

    /// Another set of backends: what is new in any order, what goes after that.
    fn next_epoch(&mut self) {
        let mut next: BTreeSet<usize> = (0..BACKENDS).filter(|_| self.rng.bool()).collect();
        if next.is_empty() {
            next.insert(self.rng.usize(..BACKENDS));
        }
        let weights: Vec<_> = next.iter().map(|ix| (*ix, self.rng.u32(1..100))).collect();
        let mut changes = vec![(
            SERVICE_POLICY,
            "shop/reviews".to_owned(),
            Some(policy(&weights)),
        )];
        for ix in next.difference(&self.used) {
            let info = EndpointInfo::new(self.endpoints[*ix].addr());
            let set = wire::endpoint_set(&backend(*ix), [&info]).encode_to_vec();
            changes.push((ENDPOINT_SET, backend(*ix).to_string(), Some(set.into())));
        }
        self.rng.shuffle(&mut changes);
        self.changes.extend(changes);
        let gone = self.used.difference(&next);
        self.last = gone
            .map(|ix| (ENDPOINT_SET, backend(*ix).to_string(), None))
            .collect();
        self.rng.shuffle(&mut self.last);
        self.used = next;
    }

    fn publish(&mut self) {
        if self.changes.is_empty() {
            self.changes.extend(self.last.drain(..));
        }
        if let Some((type_url, name, content)) = self.changes.pop_front() {
            self.engine.update(type_url, &name, content);
        }
    }

    fn deliver_request(&mut self) {
        self.requests
            .extend(std::iter::from_fn(|| self.member.poll_request()));
        if let Some(request) = self.requests.pop_front() {
            let sent = self.engine.on_request(self.connection, &request);
            sent.expect("our own client is polite");
        }
    }

    fn deliver_response(&mut self) {
        self.responses
            .extend(std::iter::from_fn(|| self.engine.poll(self.connection)));
        if let Some(response) = self.responses.pop_front() {
            let taken = self.member.on_response(response);
            taken.expect("our own server is polite");
        }
    }

    fn want(&mut self) {
        let wanted = self.wanted.borrow_and_update().clone();
        self.member.want(&wanted);
    }

    fn break_connection(&mut self) {
        self.broken += 1;
        self.requests.clear();
        self.responses.clear();
        self.engine.disconnect(self.connection);
        self.connection = self.engine.connect();
        self.member.reconnect();
    }

    fn call(&mut self) {
        let client = self.client.clone();
        self.calls.push(tokio::spawn(async move {
            let request = http::Request::get(format!("http://{HOST}/"));
            let request = request.body(MeshBody::empty()).unwrap();
            match client.oneshot(request).await {
                Ok(answer) => answer.status().as_u16(),
                Err(error) => panic!("a call was lost: {error}"),
            }
        }));
    }

    /// No route in force names a backend that is not there.
    fn look(&mut self) {
        let snapshot = self.mesh.store().current();
        for service in snapshot.outbound().services() {
            for (_, route) in service.all_routes() {
                for target in route.split().targets() {
                    self.looked += 1;
                    let backend = snapshot.outbound().backend(target.backend());
                    let backend = backend.expect("the backend of a route in force");
                    let known = snapshot.outbound().service(backend.service());
                    assert!(known.is_some(), "{} is no service", backend.service());
                }
            }
        }
    }

    async fn step(&mut self) {
        match self.rng.u8(..20) {
            0..4 => self.publish(),
            4..9 => self.deliver_request(),
            9..13 => self.deliver_response(),
            13..16 => self.want(),
            16 => self.break_connection(),
            _ => self.call(),
        }
        self.look();
        // The client puts in force what came, or does not get to it.
        for _ in 0..self.rng.usize(..4) {
            tokio::task::yield_now().await;
        }
    }

    /// Delivers everything. No time passes: whoever waits for an endpoint waits on.
    async fn settle(&mut self) {
        for _ in 0..40 {
            self.publish();
            self.want();
            for _ in 0..4 {
                self.deliver_request();
                self.deliver_response();
            }
            self.look();
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn part13_config_in_any_order_never_exposes_a_route_to_a_backend_that_is_not_there() {
    let (mut calls, mut looked, mut steps, mut broken) = (0, 0, 0, 0);
    let mut by_backend = [0; BACKENDS];
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        // Before its first policy a service is one that nobody knows.
        world.next_epoch();
        world.settle().await;
        for _ in 0..EPOCHS {
            world.next_epoch();
            for _ in 0..world.rng.usize(5..60) {
                world.step().await;
                steps += 1;
            }
            world.settle().await;
            for call in std::mem::take(&mut world.calls) {
                let status = call
                    .await
                    .unwrap_or_else(|lost| panic!("seed {seed}: {lost}"));
                assert_eq!(status, 200, "seed {seed}");
                calls += 1;
            }
            // And what is published is in force: only its backends are called.
            let before: Vec<_> = world.endpoints.iter().map(TestEndpoint::calls).collect();
            for _ in 0..4 {
                world.call();
            }
            for call in std::mem::take(&mut world.calls) {
                assert_eq!(call.await.unwrap(), 200, "seed {seed}");
                calls += 1;
            }
            for (ix, endpoint) in world.endpoints.iter().enumerate() {
                let called = endpoint.calls() > before[ix];
                assert!(
                    !called || world.used.contains(&ix),
                    "seed {seed}: v{ix} is gone"
                );
            }
        }
        for (ix, endpoint) in world.endpoints.iter().enumerate() {
            by_backend[ix] += endpoint.calls();
        }
        looked += world.looked;
        broken += world.broken;
    }
    println!(
        "{SEEDS} seeds, {steps} random steps, {broken} broken connections: {looked} targets of \
         routes looked at, 0 without a backend; {calls} calls ({by_backend:?} by backend), 0 lost"
    );
    assert!(
        by_backend.iter().all(|calls| *calls > 1_000),
        "{by_backend:?}"
    );
}
