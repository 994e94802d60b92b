//! Each example runs: the real programs against a real control server.

mod common;

use common::{Control, PATIENCE, Scratch, program, until};

#[tokio::test]
async fn the_five_line_client_calls_the_five_line_server() {
    let scratch = Scratch::new();
    let control = Control::start(&scratch.path("c"), 0).await;

    let mut server = program(env!("CARGO_BIN_EXE_server"));
    control.join(server.arg("127.0.0.1:0"), &scratch.path("server"));
    let mut server = server.spawn().expect("the server starts");
    until("the server is registered", || async {
        control
            .meshctl(&["endpoints", "reviews.shop"])
            .await
            .1
            .contains("127.0.0.1:")
    })
    .await;

    let mut client = program(env!("CARGO_BIN_EXE_client"));
    control.join(&mut client, &scratch.path("client"));
    let output = tokio::time::timeout(PATIENCE, client.output());
    let output = output.await.expect("in time").expect("the client runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let trouble = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{trouble}");
    assert!(text.contains("product 7: fine"), "{text}{trouble}");

    server.kill().await.expect("it was running");
}

#[tokio::test]
async fn the_hyper_client_needs_a_policy_file_and_nothing_else() {
    let scratch = Scratch::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let addr = listener.local_addr().expect("bound");
    let app = axum::Router::new().route("/reviews/7", axum::routing::get(|| async { "seven" }));
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                return;
            };
            let app = hyper_util::service::TowerToHyperService::new(app.clone());
            tokio::spawn(async move {
                let io = hyper_util::rt::TokioIo::new(stream);
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(io, app)
                    .await;
            });
        }
    });
    let policy = scratch.path("mesh.yaml");
    let text =
        format!("service: shop/reviews\nendpoints: {{ static: [{{ address: \"{addr}\" }}] }}\n");
    std::fs::write(&policy, text).expect("written");

    let mut client = program(env!("CARGO_BIN_EXE_hyper_client"));
    client.arg(&policy).arg("http://reviews.shop/reviews/7");
    let output = tokio::time::timeout(PATIENCE, client.output());
    let output = output.await.expect("in time").expect("the client runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("200 OK") && text.contains("seven"),
        "{output:?}"
    );
}

#[tokio::test]
async fn a_typo_in_the_policy_file_is_named_with_its_place() {
    let scratch = Scratch::new();
    let policy = scratch.path("mesh.yaml");
    std::fs::write(&policy, "service: shop/reviews\nroute:\n- tiemout: 2s\n").expect("written");
    let mut client = program(env!("CARGO_BIN_EXE_hyper_client"));
    client.arg(&policy).arg("http://reviews.shop/");
    let output = tokio::time::timeout(PATIENCE, client.output());
    let output = output.await.expect("in time").expect("the client runs");
    let trouble = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    for part in ["M3002", "mesh.yaml:3:3", "did you mean `timeout`?"] {
        assert!(trouble.contains(part), "{part} in {trouble}");
    }
}
