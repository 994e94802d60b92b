//! The control server dies by `kill -9`, and nobody who uses the services notices.

#![allow(clippy::print_stdout, reason = "the figures of the run")]

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::{Control, Role, Scratch, program, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// How long the control server is away: twice its leases, so that nothing lives on by chance.
const AWAY: Duration = Duration::from_secs(30);

async fn web(control: &Control, state: &Path) -> Role {
    let mut web = program(env!("CARGO_BIN_EXE_demo"));
    control.join(web.args(["role", "web"]), state);
    Role::start(web).await
}

/// The first line of the answer to a user of `web`.
async fn visit(web: &Role) -> String {
    let asked = async {
        let mut stream = tokio::net::TcpStream::connect(&web.facts["addr"]).await?;
        // 7 is a product without a look at the stock: `web` asks only `reviews`.
        let request = "GET /product/7 HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    match tokio::time::timeout(Duration::from_secs(10), asked).await {
        Ok(Ok(answer)) => answer.lines().next().unwrap_or_default().to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_call_on_and_restart_while_the_control_server_is_dead() {
    let scratch = Scratch::new();
    let control = Control::start(&scratch.path("c"), 0).await;
    let port = control.port();

    let mut server = program(env!("CARGO_BIN_EXE_server"));
    control.join(server.arg("127.0.0.1:0"), &scratch.path("server"));
    let mut server = server.spawn().expect("the server starts");
    let first = web(&control, &scratch.path("web")).await;
    until("users are served", async || {
        visit(&first).await.contains("200")
    })
    .await;
    until("the disk copy of web has what it calls", async || {
        let files = std::fs::read_dir(scratch.path("web")).expect("its state");
        files.flatten().any(|file| {
            let bytes = std::fs::read(file.path()).unwrap_or_default();
            bytes.windows(12).any(|window| window == b"shop/reviews")
        })
    })
    .await;

    let (state, address) = (control.state.clone(), control);
    let restart = {
        let mut again = program(env!("CARGO_BIN_EXE_demo"));
        address.join(again.args(["role", "web"]), &scratch.path("web"));
        again
    };
    address.kill().await;
    let died = Instant::now();

    // Half of the time with the process that has lived through it, half with one that was not there.
    let mut calls = 0_u32;
    let mut beat = tokio::time::interval(Duration::from_millis(20));
    while died.elapsed() < AWAY / 2 {
        beat.tick().await;
        assert_eq!(visit(&first).await, "HTTP/1.1 200 OK", "call {calls}");
        calls += 1;
    }
    first.kill().await;
    let began = Instant::now();
    let second = Role::start(restart).await;
    println!("restarted from disk in {:?}", began.elapsed());
    while died.elapsed() < AWAY {
        beat.tick().await;
        assert_eq!(
            visit(&second).await,
            "HTTP/1.1 200 OK",
            "call {calls} after the restart"
        );
        calls += 1;
    }
    println!("{calls} calls of users without a control server, 0 failed");
    assert!(calls > 500, "{calls} calls");

    // It is back: both hold what they need, and are sent nothing of it again.
    let control = Control::start(&state, port).await;
    for service in ["shop/reviews", "shop/web"] {
        until("subscribed again", async || {
            !control.clients(service).await.is_empty()
        })
        .await;
    }
    for service in ["shop/reviews", "shop/web"] {
        for row in control.clients(service).await {
            println!(
                "{service}: {} resources sent on reconnecting",
                row["resources_sent"]
            );
            assert_eq!(row["resources_sent"], 0, "{row}");
        }
    }
    assert_eq!(visit(&second).await, "HTTP/1.1 200 OK");
    second.kill().await;
    server.kill().await.expect("it was running");
}
