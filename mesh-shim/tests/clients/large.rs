//! Bodies larger than any buffer, with the memory of both shims watched.

use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::common::app::RawApp;
use crate::common::pair::{Pair, Setup};
use crate::common::wire::Wire;

/// How many bytes: `CLIENTS_LARGE_BYTES`, or 4 GiB, or less where nothing is optimised.
fn size() -> u64 {
    let given = std::env::var("CLIENTS_LARGE_BYTES");
    given.ok().and_then(|text| text.parse().ok()).unwrap_or({
        if cfg!(debug_assertions) {
            1 << 30
        } else {
            4 << 30
        }
    })
}

async fn push(io: &mut (impl tokio::io::AsyncWrite + Unpin), bytes: u64) {
    let chunk = vec![0; 256 * 1024];
    let mut left = bytes;
    while left > 0 {
        let n = left.min(chunk.len() as u64) as usize;
        io.write_all(&chunk[..n]).await.unwrap();
        left -= n as u64;
    }
}

async fn pull(wire: &mut Wire, bytes: u64) {
    let mut got = wire.take_ahead().len() as u64;
    let mut chunk = vec![0; 256 * 1024];
    while got < bytes {
        let n = wire.io.read(&mut chunk).await.unwrap();
        assert!(n > 0, "an end after {got} of {bytes} bytes");
        got += n as u64;
    }
    assert_eq!(got, bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_uploads_and_downloads_take_no_memory() {
    let app = RawApp::new().await;
    // Of the answer: it counts from the last piece of the upload.
    let setup = Setup {
        policy: "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: app, namespace: shop }\n\
                 spec: { parentRefs: [{ kind: Service, name: app, group: \"\" }], rules: [{ timeouts: { request: 3s } }] }\n"
            .to_owned(),
        ..Setup::default()
    };
    let pair = Pair::start(app.addr, setup).await;
    let bytes = size();
    // What a first request needs is there once.
    let mut client = Wire::connect(pair.front()).await;
    client
        .send("GET /warm HTTP/1.1\r\nHost: app.shop\r\n\r\n")
        .await;
    let mut served = app.accept().await;
    served.request().await;
    served
        .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    client.answer().await;
    let before = [pair.web.memory(), pair.app.memory()];

    let began = Instant::now();
    let head = format!("PUT /up HTTP/1.1\r\nHost: app.shop\r\nContent-Length: {bytes}\r\n\r\n");
    client.send(head).await;
    let up = async {
        push(&mut client.io, bytes).await;
        client.answer().await
    };
    let taken = async {
        served.head().await;
        pull(&mut served, bytes).await;
        served
            .send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
            .await;
    };
    let (answer, ()) = tokio::join!(up, taken);
    assert_eq!(answer.text(), "done");
    let (up, after_up) = (began.elapsed(), [pair.web.memory(), pair.app.memory()]);

    let began = Instant::now();
    client
        .send("GET /down HTTP/1.1\r\nHost: app.shop\r\n\r\n")
        .await;
    let down = async {
        served.request().await;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n");
        served.send(head).await;
        push(&mut served.io, bytes).await;
    };
    let got = async {
        let head = client.head().await;
        assert_eq!(head.get("content-length"), Some(&*bytes.to_string()));
        pull(&mut client, bytes).await;
    };
    tokio::join!(down, got);
    let (down, after_down) = (began.elapsed(), [pair.web.memory(), pair.app.memory()]);

    println!(
        "{} MiB up in {up:.1?}, down in {down:.1?}; KiB of the two shims before {before:?}, after the upload {after_up:?}, after the download {after_down:?}",
        bytes >> 20
    );
    for (before, after) in before
        .iter()
        .zip(after_up)
        .chain(before.iter().zip(after_down))
    {
        assert!(after < before + 16 * 1024, "{before} -> {after} KiB");
    }
}
