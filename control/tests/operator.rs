//! What an operator is told, over the admin socket of a server with real clients.

mod common;

use common::member::{Subscription, joined};
use common::{PATIENCE, Process, Scratch, config, eventually, meshctl, start};
use mesh_control::server::Server;
use mesh_grpc::wire::SERVICE_POLICY;
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn explain_shows_the_policy_in_force_with_file_and_line() {
    let scratch = Scratch::new();
    let file = scratch.write(
        "policies/reviews.yaml",
        "service: shop/reviews\nports: [{ port: 8080 }]\nroute:\n- timeout: 2s\n",
    );
    let mut config = config(&scratch);
    config.policy_dir = Some(scratch.path().join("policies"));
    let server = Server::start(config).await.unwrap();
    let socket = format!("unix:{}", server.admin_socket().display());

    let (exit, out, err) = meshctl(&socket, &["explain", "reviews"]).await;
    assert_eq!(exit, 0, "{err}");
    let head = format!("shop/reviews, revision {}\n", server.revision());
    assert!(out.starts_with(&head), "{out}");
    let line = out.lines().find(|l| l.starts_with("timeouts.request"));
    let line = line.unwrap_or_else(|| panic!("{out}"));
    assert!(
        line.contains(" 2s ") && line.ends_with("reviews.yaml:4)"),
        "{line}"
    );
    assert!(out.lines().all(|line| line.chars().count() <= 100), "{out}");

    let (exit, out, _) = meshctl(&socket, &["explain", "reviews.shop", "-o", "json"]).await;
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(exit, 0);
    let setting = &answer["routes"][0]["settings"][0];
    assert_eq!(setting["name"], "timeouts.request");
    assert_eq!(setting["from"]["source"], "HTTPRoute shop/reviews rule 0");
    assert_eq!(setting["from"]["file"], file.display().to_string());
    assert_eq!(setting["from"]["line"], 4);
    assert_eq!(
        answer["backends"][0]["settings"][0]["from"]["source"],
        "default"
    );

    let (exit, out, err) = meshctl(&socket, &["explain", "reveiws"]).await;
    assert_eq!((exit, out.as_str()), (1, ""));
    assert!(err.contains("did you mean reviews.shop?"), "{err}");
    assert!(
        err.ends_with("next: meshctl explain reviews.shop\n"),
        "{err}"
    );
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_say_who_runs_which_revision_who_refused_it_and_who_is_silent() {
    let scratch = Scratch::new();
    let server = start(&scratch).await;
    let policy = |timeout: &str| {
        let text = format!("service: shop/reviews:80\nroute:\n- timeout: {timeout}\n");
        server.apply([("reviews.yaml".to_owned(), text)]).unwrap()
    };
    let old = policy("2s");
    let (web, batch) = (
        joined(&server, "shop/web").await,
        joined(&server, "shop/batch").await,
    );
    let mut refuses = Subscription::open(&web, SERVICE_POLICY, "shop/reviews").await;
    let mut silent = Subscription::open(&batch, SERVICE_POLICY, "shop/reviews").await;
    refuses.next().await;
    silent.next().await;
    let socket = format!("unix:{}", server.admin_socket().display());
    let clients = async || meshctl(&socket, &["clients"]).await.1;
    eventually(clients, |out| out.matches("  current").count() == 2).await;

    let new = policy("3s");
    let response = tokio::time::timeout(PATIENCE, refuses.responses.message()).await;
    let response = response.unwrap().unwrap().unwrap();
    refuses.answer(&response, Some("spec.rules[0]: not with me"));
    let out = eventually(clients, |out| out.contains("REFUSED")).await;
    let line = |service: &str| out.lines().find(|line| line.starts_with(service)).unwrap();
    assert!(line("web ").contains(&format!("{old}  REFUSED")), "{out}");
    assert!(line("batch ").contains(&format!("{old}  behind")), "{out}");
    assert!(
        out.contains("shop/web web-1 refused ServicePolicy: spec.rules[0]: not with me [M5002]"),
        "{out}"
    );
    assert!(
        out.ends_with(&format!("revision in force: {new}\n")),
        "{out}"
    );

    let check = async || meshctl(&socket, &["check"]).await;
    let (exit, out, _) = eventually(check, |(_, out, _)| out.contains("[M5004]")).await;
    assert_eq!(exit, 1);
    assert!(
        out.contains("[M5004] shop/batch web-1: has not confirmed"),
        "{out}"
    );
    let refused = format!("[M5002] shop/web web-1: refused an update and runs revision {old}");
    let flat = out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains(&refused), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_resumes_what_it_holds_when_the_server_was_killed() {
    let scratch = Scratch::new();
    let state = scratch.path().join("state");
    let file = scratch.write(
        "reviews.yaml",
        "service: shop/reviews\nroute:\n- timeout: 2s\n",
    );
    let first = Process::start(&state, &[]);
    let (exit, _, err) = meshctl(
        &first.socket(),
        &["policy", "apply", &file.display().to_string()],
    )
    .await;
    assert_eq!(exit, 0, "{err}");
    let web = mesh_grpc::Join::builder()
        .without_env()
        .service("shop/web")
        .control(&format!("https://{}", first.grpc))
        .identity(&format!("token:{}", state.join("join-token").display()))
        .instance("web-1")
        .join()
        .await
        .unwrap();
    let _client = web.client("reviews.shop");
    let client = async |socket: &str| {
        let out = meshctl(socket, &["clients", "-o", "json"]).await.1;
        let answer: Value = serde_json::from_str(&out).unwrap_or_default();
        (answer["clients"][0].clone(), answer["revision"].clone())
    };
    let (listen, socket) = (first.grpc.to_string(), first.socket());
    let settled = |(row, revision): &(Value, Value)| {
        row["behind"] == false && row["revision"].is_string() && row["revision"] == *revision
    };
    let (before, revision) = eventually(async || client(&socket).await, settled).await;
    assert!(before["resources_sent"].as_u64().unwrap() > 0, "{before}");
    first.kill();

    let second = Process::start_at(&state, &listen, &[]);
    let socket = second.socket();
    let (after, now) = eventually(async || client(&socket).await, settled).await;
    assert_eq!(now, revision, "the policy was on disk");
    assert_eq!(after["instance"], "web-1");
    assert_eq!(after["resources_sent"], 0, "it holds everything: {after}");
    let (exit, out, _) = meshctl(&socket, &["check"]).await;
    assert_eq!(exit, 0, "{out}");
}
