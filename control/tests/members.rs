//! What members may do: join, renew, register, subscribe, report. Real sockets, real TLS.

mod common;

use std::time::{Duration, Instant};

use common::member::{Subscription, csr, join, joined, pinned, sign};
use common::{PATIENCE, Process, Scratch, config, eventually, get, meshctl, start};
use mesh_control::server::Server;
use mesh_grpc::Channel;
use mesh_grpc::pb::control as pb;
use mesh_grpc::pb::control::register_request::Message;
use mesh_grpc::pb::control::registry_client::RegistryClient;
use mesh_grpc::pb::control::report_client::ReportClient;
use mesh_grpc::pb::discovery::DeltaDiscoveryRequest;
use mesh_grpc::pb::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use mesh_grpc::wire::{ENDPOINT_SET, SERVICE_POLICY};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status, Streaming};

/// An open registration stream.
struct Registration {
    say: mpsc::UnboundedSender<pb::RegisterRequest>,
    answers: Streaming<pb::RegisterResponse>,
}

impl Registration {
    async fn open(channel: &Channel) -> Self {
        let (say, requests) = mpsc::unbounded_channel();
        let requests = UnboundedReceiverStream::new(requests);
        let answers = RegistryClient::new(channel.clone())
            .register(requests)
            .await
            .unwrap();
        Self {
            say,
            answers: answers.into_inner(),
        }
    }

    async fn send(&mut self, message: Message) -> Result<pb::RegisterResponse, Status> {
        self.say
            .send(pb::RegisterRequest {
                message: Some(message),
            })
            .unwrap();
        Ok(self.answers.message().await?.expect("an answer"))
    }

    /// What the server says unasked.
    async fn pushed(&mut self) -> pb::RegisterResponse {
        let answer = tokio::time::timeout(Duration::from_secs(10), self.answers.message());
        answer.await.unwrap().unwrap().expect("an answer")
    }

    async fn register(
        &mut self,
        service: &str,
        addr: &str,
    ) -> Result<pb::RegisterResponse, Status> {
        let instance = pb::Instance {
            service: service.to_owned(),
            addr: addr.to_owned(),
            instance: format!("{service}@{addr}"),
            ..Default::default()
        };
        self.send(Message::Register(instance)).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_or_request_is_refused_with_its_code() {
    let scratch = Scratch::new();
    let server = start(&scratch).await;
    let token = server.join_token();
    let key = rcgen::KeyPair::generate().unwrap();
    let good = csr(&key);
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    let wrong = format!(
        "mesh1.{}.{}",
        "x".repeat(43),
        token.rsplit('.').next().unwrap()
    );
    for (token, csr, service, code, says) in [
        (
            wrong.as_str(),
            &good,
            "shop/web",
            Code::Unauthenticated,
            "[M4005]",
        ),
        ("", &good, "shop/web", Code::Unauthenticated, "[M4003]"),
        (token, &forged, "shop/web", Code::InvalidArgument, "[M4006]"),
        (
            token,
            &vec![0; 10],
            "shop/web",
            Code::InvalidArgument,
            "[M4006]",
        ),
        (token, &good, "../web", Code::InvalidArgument, "[M4006]"),
        (
            token,
            &good,
            "mesh/control",
            Code::InvalidArgument,
            "[M4006]",
        ),
    ] {
        let channel = pinned(server.grpc_addr, server.join_token());
        let status = sign(channel, token, csr.clone(), service)
            .await
            .unwrap_err();
        assert_eq!(status.code(), code, "{service} {says}: {status:?}");
        assert!(status.message().contains(says), "{status:?}");
        assert!(
            !status.message().contains(&server.join_token()[6..20]),
            "the secret is not said"
        );
    }
    let signed = sign(pinned(server.grpc_addr, token), token, good, "shop/web")
        .await
        .unwrap();
    assert_eq!(signed.chain_der.len(), 1);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_joiner_that_pins_another_ca_does_not_send_its_token() {
    let scratch = Scratch::new();
    let server = start(&scratch).await;
    let other = format!("mesh1.secret.{}", "ab".repeat(32));
    let error = pinned(server.grpc_addr, &other)
        .connect()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("M400"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_renews_and_speaks_only_for_its_own_service() {
    let scratch = Scratch::new();
    let server = start(&scratch).await;
    let web = joined(&server, "shop/web").await;
    let key = rcgen::KeyPair::generate().unwrap();
    sign(web.clone(), "", csr(&key), "shop/web").await.unwrap();
    let status = sign(web.clone(), "", csr(&key), "shop/reviews")
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");

    let status = Registration::open(&web)
        .await
        .register("shop/reviews", "127.0.0.1:1")
        .await;
    assert_eq!(status.unwrap_err().code(), Code::PermissionDenied);
    let report = pb::ReportRequest {
        service: "shop/reviews".to_owned(),
        ..Default::default()
    };
    let mut acks = ReportClient::new(web.clone())
        .push(tokio_stream::iter([report]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        acks.message().await.unwrap_err().code(),
        Code::PermissionDenied
    );

    let mut admin = pb::admin_client::AdminClient::new(web);
    let status = admin.check(pb::CheckRequest {}).await.unwrap_err();
    assert_eq!(
        status.code(),
        Code::PermissionDenied,
        "administration is on the socket"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_told_when_to_come_back_and_members_still_renew() {
    let scratch = Scratch::new();
    let server = start(&scratch).await;
    let web = joined(&server, "shop/web").await;
    let stranger = pinned(server.grpc_addr, server.join_token());
    let mut refused = None;
    for _ in 0..1000 {
        let status = sign(stranger.clone(), "mesh1.wrong", Vec::new(), "shop/web").await;
        let status = status.unwrap_err();
        if status.code() == Code::ResourceExhausted {
            refused = Some(status);
            break;
        }
        assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    }
    let refused = refused.expect("a limit");
    let text = refused.message();
    assert!(
        text.contains("127.0.0.1 asks for certificates too often")
            && text.contains("try again in ")
            && text.ends_with("[M4006]"),
        "{text}"
    );
    let key = rcgen::KeyPair::generate().unwrap();
    sign(web, "", csr(&key), "shop/web").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_did_not_join_may_only_join() {
    let scratch = Scratch::new();
    let server = start(&scratch).await;
    let stranger = pinned(server.grpc_addr, server.join_token());
    let nothing = tokio_stream::empty::<DeltaDiscoveryRequest>();
    let mut ads = AggregatedDiscoveryServiceClient::new(stranger.clone());
    let status = ads.delta_aggregated_resources(nothing).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    let nothing = tokio_stream::empty::<pb::RegisterRequest>();
    let status = RegistryClient::new(stranger.clone())
        .register(nothing)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    let nothing = tokio_stream::empty::<pb::ReportRequest>();
    let status = ReportClient::new(stranger).push(nothing).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_is_gone_within_100_ms_and_a_broken_stream_is_not() {
    let scratch = Scratch::new();
    let server = start(&scratch).await;
    let reviews = joined(&server, "shop/reviews").await;
    let web = joined(&server, "shop/web").await;
    let mut registration = Registration::open(&reviews).await;
    let answer = registration
        .register("shop/reviews", "127.0.0.1:1001")
        .await
        .unwrap();
    assert_eq!((answer.lease_seconds, answer.entries), (15, 1));
    registration
        .register("shop/reviews", "127.0.0.1:1002")
        .await
        .unwrap();

    let mut endpoints = Subscription::open(&web, ENDPOINT_SET, "shop/reviews").await;
    assert_eq!(
        endpoints.endpoints().await,
        ["127.0.0.1:1001", "127.0.0.1:1002"]
    );
    let start = Instant::now();
    let which = pb::Deregister {
        addr: "127.0.0.1:1001".to_owned(),
        ..Default::default()
    };
    registration.send(Message::Deregister(which)).await.unwrap();
    assert_eq!(endpoints.endpoints().await, ["127.0.0.1:1002"]);
    assert!(
        start.elapsed() < Duration::from_millis(100),
        "{:?}",
        start.elapsed()
    );

    drop(registration);
    let socket = format!("unix:{}", server.admin_socket().display());
    let (_, out, _) = eventually(
        async || meshctl(&socket, &["check"]).await,
        |(_, out, _)| out.contains("closed its stream"),
    )
    .await;
    assert!(out.contains("[M5001] shop/reviews 127.0.0.1:1002"), "{out}");
    let (exit, out, _) = meshctl(&socket, &["endpoints", "reviews"]).await;
    assert_eq!(exit, 0);
    assert!(
        out.contains("127.0.0.1:1002") && !out.contains("127.0.0.1:1001"),
        "still leased: {out}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_and_identities_survive_kill_9() {
    let scratch = Scratch::new();
    let state = scratch.path().join("state");
    let first = Process::start(&state, &[]);
    let token = std::fs::read_to_string(state.join("join-token")).unwrap();
    let (reviews, credentials) = join(first.grpc, &token, "shop/reviews").await;
    let mut registration = Registration::open(&reviews).await;
    registration
        .register("shop/reviews", "127.0.0.1:1001")
        .await
        .unwrap();
    let leases = state.join("leases.json");
    let written = async || std::fs::read_to_string(&leases).unwrap_or_default();
    eventually(written, |text| text.contains("127.0.0.1:1001")).await;
    first.kill();

    let second = Process::start(&state, &[]);
    let again = Channel::new(
        format!("https://{}", second.grpc).parse().unwrap(),
        &credentials,
    );
    let mut endpoints = Subscription::open(&again, ENDPOINT_SET, "shop/reviews").await;
    assert_eq!(
        endpoints.endpoints().await,
        ["127.0.0.1:1001"],
        "known endpoints do not vanish"
    );
    let (exit, out, _) = meshctl(&second.socket(), &["check"]).await;
    assert_eq!(exit, 0, "no blame for the server's own restart: {out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_reaches_its_subscriber_and_a_refusal_shows() {
    let scratch = Scratch::new();
    let server = start(&scratch).await;
    let policy = |timeout: &str| {
        let text = format!("service: shop/reviews:80\nroute:\n- timeout: {timeout}\n");
        server.apply([("reviews.yaml".to_owned(), text)]).unwrap()
    };
    policy("2s");
    let web = joined(&server, "shop/web").await;
    let mut subscription = Subscription::open(&web, SERVICE_POLICY, "shop/reviews").await;
    let first = subscription.next().await;
    assert_eq!(first.resources.len(), 1);
    let socket = format!("unix:{}", server.admin_socket().display());
    let clients = async || meshctl(&socket, &["clients"]).await.1;
    let wanted = format!("{}  current", server.revision());
    let out = eventually(clients, |out| out.contains(&wanted)).await;
    assert!(out.contains("web") && out.contains("web-1"), "{out}");

    let revision = policy("3s");
    let response = tokio::time::timeout(PATIENCE, subscription.responses.message()).await;
    let response = response.unwrap().unwrap().unwrap();
    assert_eq!(response.system_version_info, revision);
    subscription.answer(
        &response,
        Some("spec.rules[0].timeouts.request: too long for me"),
    );
    let out = eventually(clients, |out| out.contains("REFUSED")).await;
    assert!(out.contains("too long for me [M5002]"), "{out}");
    let (exit, out, _) = meshctl(&socket, &["check"]).await;
    assert_eq!(exit, 1);
    assert!(out.contains("[M5002] shop/web web-1"), "{out}");
    let (_, _, metrics) = get(server.page_addr, "/metrics", "127.0.0.1").await;
    assert!(
        metrics.contains("mesh_control_clients{state=\"refused\"} 1"),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_become_stat_and_findings() {
    let scratch = Scratch::new();
    let server = start(&scratch).await;
    let web = joined(&server, "shop/web").await;
    let endpoint = |addr: &str, failures| pb::EndpointReport {
        service: "shop/reviews".to_owned(),
        addr: addr.to_owned(),
        calls: 40,
        failures,
        ..Default::default()
    };
    let report = pb::ReportRequest {
        service: "shop/web".to_owned(),
        instance: "web-1".to_owned(),
        sequence: 7,
        edges: vec![pb::EdgeReport {
            to: "shop/reviews".to_owned(),
            route: "main".to_owned(),
            calls: 80,
            retries: 12,
            rescued: 12,
            mtls: true,
            latency: Some(pb::Histogram {
                index: vec![200],
                count: vec![80],
            }),
            ..Default::default()
        }],
        endpoints: vec![endpoint("127.0.0.1:1", 12), endpoint("127.0.0.1:2", 0)],
        ..Default::default()
    };
    let pushed = ReportClient::new(web)
        .push(tokio_stream::iter([report]))
        .await
        .unwrap();
    assert_eq!(
        pushed
            .into_inner()
            .message()
            .await
            .unwrap()
            .unwrap()
            .sequence,
        7
    );
    let socket = format!("unix:{}", server.admin_socket().display());
    let stat = async || meshctl(&socket, &["stat", "--to", "reviews"]).await.1;
    let out = eventually(stat, |out| out.contains("main")).await;
    assert!(
        out.contains("100.00%") && out.contains("15.0%") && out.contains("0/2  yes"),
        "{out}"
    );
    assert!(
        out.contains("Without retries success would be 85.00%."),
        "{out}"
    );
    let (exit, out, _) = meshctl(&socket, &["check"]).await;
    assert_eq!(exit, 1, "{out}");
    assert!(
        out.contains("[M5005] shop/reviews 127.0.0.1:1: 30% of 40 calls"),
        "{out}"
    );
    assert!(
        out.lines()
            .last()
            .unwrap()
            .starts_with("next: meshctl explain M5005"),
        "{out}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_joins_serves_and_leaves() {
    let scratch = Scratch::new();
    let mut config = config(&scratch);
    config.leaf_ttl = Duration::from_secs(60);
    let server = Server::start(config).await.unwrap();
    let join = |service: &'static str| {
        mesh_grpc::Join::builder()
            .without_env()
            .service(service)
            .control(&format!("https://{}", server.grpc_addr))
            .identity(&format!("token:{}", server.token_path().display()))
            .instance(service)
            .join()
    };
    let reviews = join("shop/reviews").await.unwrap();
    let answer = tower::service_fn(async |_: http::Request<mesh_tower::MeshBody>| {
        Ok::<_, std::convert::Infallible>(http::Response::new(mesh_tower::MeshBody::full("hello")))
    });
    let serving = reviews
        .server()
        .bind("127.0.0.1:0")
        .unwrap()
        .serve(answer)
        .unwrap();
    let web = join("shop/web").await.unwrap();
    let mut client = web.client("reviews.shop");
    let request = http::Request::get("http://reviews.shop/7")
        .body(mesh_tower::MeshBody::empty())
        .unwrap();
    let response = tower_service::Service::call(&mut client, request)
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    drop(response); // A call ends with its body.

    let socket = format!("unix:{}", server.admin_socket().display());
    let stat = async || meshctl(&socket, &["stat", "--from", "web"]).await.1;
    let out = eventually(stat, |out| out.contains("reviews")).await;
    assert!(out.contains("yes"), "mutual TLS: {out}");
    let (exit, out, _) = meshctl(&socket, &["check"]).await;
    assert_eq!(exit, 0, "{out}");
    let (_, out, _) = meshctl(&socket, &["endpoints", "reviews"]).await;
    assert!(out.contains(&serving.local_addr().to_string()), "{out}");
    serving.shutdown().await;
    let endpoints = async || meshctl(&socket, &["endpoints", "-o", "json"]).await.1;
    eventually(endpoints, |out| !out.contains("lease_left_seconds\": 1")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_among_the_instances_is_pushed_and_follows_joins_and_leaves() {
    let scratch = Scratch::new();
    let server = start(&scratch).await;
    let web = joined(&server, "shop/web").await;
    let mut first = Registration::open(&web).await;
    let mut second = Registration::open(&web).await;
    let place = |answer: pb::RegisterResponse| answer.place.map(|at| (at.index, at.count));
    let answer = first.register("shop/web", "127.0.0.1:1002").await.unwrap();
    assert_eq!(place(answer), Some((0, 1)));
    // The newcomer's name comes before: it is the first now, and the other hears of it unasked.
    let answer = second.register("shop/web", "127.0.0.1:1001").await.unwrap();
    assert_eq!(place(answer), Some((0, 2)));
    assert_eq!(place(first.pushed().await), Some((1, 2)));
    let answer = second.send(Message::Deregister(pb::Deregister::default()));
    assert_eq!(place(answer.await.unwrap()), None);
    assert_eq!(place(first.pushed().await), Some((0, 1)));
}
