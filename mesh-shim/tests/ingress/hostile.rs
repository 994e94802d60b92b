//! Clients that do not mean well, or cannot speak.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{Client, tls};
use crate::common::PATIENCE;
use crate::common::app::Recorder;
use crate::{Edge, named, route, service, to};

const WWW: &str = "www.example.com";

/// An ingress, and the application behind it, which lives as long as it is held.
async fn edge(flags: &[&str]) -> (Edge, Recorder) {
    let web = named("web").await;
    let policy = service("web", web.addr) + &route("www", &[WWW], &to("web"));
    (Edge::start(&policy, flags).await, web)
}

/// What is said until the end of the connection.
async fn until_end(io: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let read = tokio::time::timeout(PATIENCE, io.read_to_end(&mut all));
    // A reset is an end too.
    let _ = read.await.expect("an end");
    all
}

#[tokio::test]
async fn what_is_no_tls_is_let_go_at_once() {
    let (edge, _web) = edge(&[]).await;
    for sent in [
        &b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\xff\xff garbage",
        b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",
        b"\x80\x2e\x01\x00\x02",
        b"\0\0\0\0\0\0\0\0",
        &endless_hello(),
    ] {
        let mut io = TcpStream::connect(edge.tls()).await.unwrap();
        // The end may come before all is written.
        let _ = io.write_all(sent).await;
        let began = Instant::now();
        if sent.starts_with(b"\x16\x03\x01\xff") {
            // A record that is longer than any is allowed to be.
            io.shutdown().await.unwrap();
        }
        let said = until_end(&mut io).await;
        assert!(!said.starts_with(b"HTTP"), "{said:?}");
        println!(
            "{:?}: {} bytes, {:?}",
            &sent[..5],
            said.len(),
            began.elapsed()
        );
        assert!(
            began.elapsed() < Duration::from_secs(9),
            "as late as a handshake that does not end, which has 10 s"
        );
    }
    let mut client = Client::secure(edge.tls(), WWW, &edge.public.pem, "h2").await;
    assert_eq!(client.get(WWW, "/").await.status, 200);
}

/// Records that hold a ClientHello of 64 KiB, as far as it goes.
fn endless_hello() -> Vec<u8> {
    let mut all = Vec::new();
    for n in 0..3 {
        all.extend(b"\x16\x03\x01\x40\x00");
        let mut record = vec![0; 16 * 1024];
        if n == 0 {
            record[..6].copy_from_slice(b"\x01\x00\xff\xf0\x03\x03");
        }
        all.extend(record);
    }
    all
}

/// Sends what it carries byte by byte.
async fn trickle(from: &mut TcpStream, to: &mut TcpStream) -> std::io::Result<usize> {
    let mut bytes = vec![0; 16 * 1024];
    let n = from.read(&mut bytes).await?;
    for byte in &bytes[..n] {
        to.write_all(std::slice::from_ref(byte)).await?;
    }
    Ok(n)
}

#[tokio::test]
async fn a_client_hello_in_pieces_of_one_byte_is_understood() {
    // With and without something that is passed through, for which it is kept.
    for flags in [&[][..], &["--passthrough", "db.example.com=shop/web"]] {
        let (edge, _web) = edge(flags).await;
        let target = edge.tls();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let between = tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut server = TcpStream::connect(target).await.unwrap();
            server.set_nodelay(true).unwrap();
            let n = trickle(&mut client, &mut server).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            n
        });
        let mut client = Client::secure(addr, WWW, &edge.public.pem, "http/1.1").await;
        assert_eq!(client.get(WWW, "/").await.status, 200);
        drop(client);
        let pieces = between.await.unwrap();
        println!("{pieces} pieces of one byte");
        assert!(pieces > 100, "{pieces}");
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_ended() {
    let (edge, _web) = edge(&["--passthrough", "db.example.com=shop/web"]).await;
    let mut silent = TcpStream::connect(edge.tls()).await.unwrap();
    let mut half = TcpStream::connect(edge.tls()).await.unwrap();
    half.write_all(b"\x16\x03\x01\x01\x00\x01\x00\x00")
        .await
        .unwrap();
    let began = Instant::now();
    tokio::join!(until_end(&mut silent), until_end(&mut half));
    println!("ended after {:?}", began.elapsed());
    let took = began.elapsed();
    assert!(
        took > Duration::from_secs(5) && took < Duration::from_secs(20),
        "{took:?}"
    );
    let mut client = Client::secure(edge.tls(), WWW, &edge.public.pem, "h2").await;
    assert_eq!(client.get(WWW, "/").await.status, 200);
}

#[tokio::test]
async fn names_of_strangers_are_counted_together() {
    const NAMES: usize = 2_000;
    let (edge, _web) = edge(&[]).await;
    let series = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
    assert!(
        tls(edge.tls(), Some("first.unknown.org"), &edge.public.pem, &[])
            .await
            .is_err()
    );
    let mut client = Client::plaintext(edge.plaintext()).await;
    assert_eq!(client.get("first.unknown.org", "/").await.status, 404);
    let before = series(&edge.shim.metrics().await);
    for n in 0..NAMES {
        let name = format!("n{n}.unknown.org");
        if n % 20 == 0 {
            assert!(
                tls(edge.tls(), Some(&name), &edge.public.pem, &[])
                    .await
                    .is_err()
            );
        }
        assert_eq!(client.get(&name, "/").await.status, 404);
    }
    let text = edge.shim.metrics().await;
    assert!(!text.contains("unknown.org"));
    println!(
        "{before} series before {NAMES} names, {} after",
        series(&text)
    );
    assert!(series(&text) <= before + 2);
    let counted = format!(
        "mesh_ingress_refused_total{{reason=\"unknown_name\"}} {}",
        NAMES / 20 + 1
    );
    edge.shim.metric(&counted).await;
}
