//! Members of a mesh over real sockets: a generated client and a generated server, mutual TLS, policy, registration
//! and reports from a small control server on the crate's own engine.

mod support;

use std::time::{Duration, Instant};

use mesh_core::policy::spec::{self, Resource};
use mesh_grpc::{Join, wire};
use mesh_tower::{Mesh, server::ServerHandle};
use support::{
    Scratch,
    control::{Authority, Control},
    echo::{
        Echo,
        pb::{Say, echo_client::EchoClient, echo_server::EchoServer},
    },
    soon, until,
};
use tokio_stream::StreamExt as _;
use tonic::Code;

async fn member(control: &Control, service: &str, state: Option<&Scratch>) -> Mesh {
    let mut join = Join::builder()
        .without_env()
        .service(service)
        .control(&control.url())
        .identity(&format!("token-value:{}", control.token));
    if let Some(state) = state {
        join = join.state(&state.0);
    }
    soon("joining", join.join()).await.expect("joined")
}

/// An echo service that is registered.
async fn echo(control: &Control) -> (Mesh, ServerHandle) {
    control.publish("shop/echo", []);
    let mesh = member(control, "shop/echo", None).await;
    let server = mesh
        .server()
        .bind("127.0.0.1:0")
        .unwrap()
        .serve(EchoServer::new(Echo))
        .unwrap();
    let addr = server.local_addr();
    until("registration", async || control.instances().contains(&addr)).await;
    (mesh, server)
}

fn say(text: &str, count: u32) -> Say {
    Say {
        text: text.into(),
        count,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generated_client_calls_a_generated_server_through_the_mesh() {
    let control = Control::start(&Authority::new(), None).await;
    let (_echo, _server) = echo(&control).await;
    let web = member(&control, "shop/web", None).await;
    let mut client = EchoClient::new(web.client("echo"));

    let heard = soon("unary", client.unary(say("hello", 0)))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (heard.text.as_str(), heard.caller.as_str()),
        ("hello", "spiffe://mesh.local/ns/shop/sa/web")
    );

    let stream = soon("stream", client.server_stream(say("line", 3)))
        .await
        .unwrap()
        .into_inner();
    let lines: Vec<String> = soon("lines", stream.map(|heard| heard.unwrap().text).collect()).await;
    assert_eq!(lines, ["line 0", "line 1", "line 2"]);

    let (send, receive) = tokio::sync::mpsc::channel(1);
    let outgoing = tokio_stream::wrappers::ReceiverStream::new(receive);
    let mut heard = soon("bidi", client.bidi(outgoing))
        .await
        .unwrap()
        .into_inner();
    for text in ["one", "two"] {
        send.send(say(text, 0)).await.unwrap();
        assert_eq!(
            soon("answer", heard.message()).await.unwrap().unwrap().text,
            text
        );
    }
    drop(send);
    assert!(soon("end", heard.message()).await.unwrap().is_none());

    // The application's refusal is the application's, the mesh's is the mesh's.
    let status = soon("refusal", client.unary(say("no such review", 5)))
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::NotFound, "no such review")
    );
    assert!(mesh_grpc::mesh_error(&status).is_none());
    let mut nobody = EchoClient::new(web.client("nobody"));
    let status = soon("no route", nobody.unary(say("?", 0)))
        .await
        .unwrap_err();
    let error = mesh_grpc::mesh_error(&status).expect("the mesh's own");
    assert_eq!(
        (error.code().to_string().as_str(), status.code()),
        ("M2001", Code::Unimplemented),
        "{status}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_drains_leaves_the_registry_at_once_and_reports_while_it_lives() {
    let control = Control::start(&Authority::new(), None).await;
    let (mesh, _server) = echo(&control).await;
    until("a report", async || {
        let state = control.state.lock().unwrap();
        state.reports.iter().any(|report| {
            report.service == "shop/echo"
                && report
                    .held
                    .iter()
                    .any(|held| held.type_url == wire::TRUST_BUNDLE)
        })
    })
    .await;
    let start = Instant::now();
    mesh.drain().start();
    until("deregistration", async || control.instances().is_empty()).await;
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}; 100 ms on a quiet machine",
        start.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_policy_is_refused_with_its_field_and_the_last_good_one_stays() {
    let control = Control::start(&Authority::new(), None).await;
    let (_echo, _server) = echo(&control).await;
    let web = member(&control, "shop/web", None).await;
    let mut client = EchoClient::new(web.client("echo"));
    soon("a call", client.unary(say("hello", 0))).await.unwrap();

    let metadata = spec::Metadata {
        name: "echo".into(),
        namespace: "shop".into(),
        ..Default::default()
    };
    let policy = |percent| -> Resource {
        let target = spec::TargetRef {
            group: None,
            kind: spec::TargetKind::Service,
            name: Some("echo".into()),
            port: None,
        };
        let spec = spec::BackendPolicySpec {
            target_refs: vec![target],
            retry_budget: Some(spec::RetryBudget {
                percent: Some(percent),
                ..Default::default()
            }),
            ..Default::default()
        };
        spec::BackendPolicy::new(metadata.clone(), spec).into()
    };
    control.publish("shop/echo", [policy(1_000_000)]);
    let nack = || {
        let peers = control.ads.peers();
        let web = peers.iter().find(|peer| {
            peer.peer.identity.as_deref() == Some("spiffe://mesh.local/ns/shop/sa/web")
        })?;
        web.connection
            .types
            .iter()
            .find_map(|of_type| of_type.nack.clone())
    };
    until("a refusal", async || nack().is_some()).await;
    let text = nack().unwrap();
    assert!(
        text.contains("BackendPolicy shop/echo") && text.contains("retryBudget.percent"),
        "{text}"
    );
    soon("a call", client.unary(say("hello", 0))).await.unwrap();

    control.publish("shop/echo", [policy(10)]);
    until("acceptance", async || nack().is_none()).await;
    soon("a call", client.unary(say("hello", 0))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_serves_on_without_the_control_server_and_starts_from_disk() {
    let authority = Authority::new();
    let control = Control::start(&authority, None).await;
    let (_echo, _server) = echo(&control).await;
    let state = Scratch::new();
    let web = member(&control, "shop/web", Some(&state)).await;
    let mut client = EchoClient::new(web.client("echo"));
    soon("a call", client.unary(say("hello", 0))).await.unwrap();
    let snapshot = state.0.join("snapshot");
    until("the snapshot", async || {
        let bytes = std::fs::read(&snapshot).unwrap_or_default();
        let has = |text: &str| {
            bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
        };
        has(wire::SERVICE_POLICY) && has("spiffe://mesh.local/ns/shop/sa/echo")
    })
    .await;
    let (url, token) = (control.url(), control.token.clone());
    let addr = control.kill();
    soon("a call without control", client.unary(say("hello", 0)))
        .await
        .unwrap();

    // A restart meanwhile.
    drop((client, web));
    let start = Instant::now();
    let join = Join::builder()
        .without_env()
        .service("shop/web")
        .control(&url);
    let join = join
        .identity(&format!("token-value:{token}"))
        .state(&state.0);
    let web = soon("a start from disk", join.join())
        .await
        .expect("joined");
    let took = start.elapsed();
    assert!(
        took < Duration::from_millis(500),
        "{took:?}; under 50 ms on a quiet machine"
    );
    let mut client = EchoClient::new(web.client("echo"));
    soon("a call from disk", client.unary(say("hello", 0)))
        .await
        .unwrap();

    // The control server comes back on its port and knows the same: nothing is sent again.
    let control = Control::start(&authority, Some(addr)).await;
    control.publish("shop/echo", []);
    until("the echo's lease", async || !control.instances().is_empty()).await;
    until("the client", async || {
        control.ads.peers().len() == 2 && control.ads.peers().iter().all(|p| !p.connection.behind)
    })
    .await;
    assert!(
        control.state.lock().unwrap().signed.is_empty(),
        "both kept their identities"
    );
    soon("a call", client.unary(say("hello", 0))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_token_or_authority_is_final_and_named() {
    let control = Control::start(&Authority::new(), None).await;
    let wrong = control.token.replace("c2VjcmV0", "Z3Vlc3M");
    let elsewhere = format!("mesh1.c2VjcmV0.{}", "00".repeat(32));
    for (token, code) in [
        (wrong, "M4005"),
        (elsewhere, "M4003"),
        ("nonsense".to_owned(), "M4005"),
    ] {
        let join = Join::builder()
            .without_env()
            .service("shop/web")
            .control(&control.url());
        let error = soon(
            "refusal",
            join.identity(&format!("token-value:{token}")).join(),
        )
        .await
        .unwrap_err();
        assert!(
            error.to_string().contains(code),
            "{error} should have {code}"
        );
    }
    assert!(control.state.lock().unwrap().signed.is_empty());
}

#[tokio::test]
async fn no_control_server_is_needed() {
    let mesh = Join::builder()
        .without_env()
        .service("web")
        .namespace("shop")
        .join()
        .await
        .unwrap();
    assert_eq!(mesh.service_name().to_string(), "shop/web");
    let error = Join::builder().without_env().join().await.unwrap_err();
    assert!(error.to_string().contains("M1003"), "{error}");
}
