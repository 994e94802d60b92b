//! Bytes through two real shims.

mod common;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::app::{echo, serving};
use common::{Authority, PATIENCE, Scratch, Shim, until};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Greets, then sends back what it gets.
async fn app() -> SocketAddr {
    serving(|mut io| async move {
        io.write_all(b"hi!").await?;
        echo(io).await
    })
    .await
}

fn shim(scratch: &Scratch, authority: &Authority, service: &str, args: &[&str]) -> Shim {
    let identity = authority.identity(scratch, service);
    let policy = scratch.at("policy.yaml");
    let any = "127.0.0.1:0";
    let service = format!("shop/{service}");
    let mut all = vec![
        "proxy",
        "--as",
        &service,
        "--outbound",
        "off",
        "--inbound",
        any,
        "--health",
        any,
        "--metrics",
        any,
        "--identity",
        &identity,
        "--policy",
        &policy,
        "--drain-unready",
        "0s",
        "--drain-in-flight",
        "1s",
    ];
    all.extend(args);
    Shim::spawn(&all)
}

fn policy(scratch: &Scratch, protocol: &str, redis: SocketAddr) {
    let text = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: redis, namespace: shop }}\nspec:\n  \
         ports: [{{ port: 6379, appProtocol: {protocol} }}]\n  endpoints: {{ static: \
         [{{ address: \"{redis}\", identity: \"spiffe://mesh.local/ns/shop/sa/redis\" }}] }}\n"
    );
    scratch.write("policy.yaml", &text);
}

async fn talk(addr: SocketAddr, sent: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut io = TcpStream::connect(addr).await?;
    let mut greeting = [0; 3];
    let read = tokio::time::timeout(Duration::from_secs(2), io.read_exact(&mut greeting));
    read.await??;
    assert_eq!(&greeting, b"hi!");
    let (mut read, mut write) = io.split();
    let mut all = Vec::new();
    let writes = async {
        write.write_all(sent).await?;
        write.shutdown().await
    };
    tokio::time::timeout(PATIENCE, async {
        tokio::try_join!(writes, read.read_to_end(&mut all))
    })
    .await??;
    Ok(all)
}

#[tokio::test]
async fn bytes_pass_two_shims_when_the_policy_says_so_or_the_flag() {
    let (scratch, authority) = (Scratch::new(), Authority::new());
    policy(&scratch, "tcp", "127.0.0.1:1".parse().unwrap());
    let port = app().await.port().to_string();
    let mut server = shim(
        &scratch,
        &authority,
        "redis",
        &["--port", &port, "--app-protocol", "tcp"],
    );
    server.ready().await;
    policy(&scratch, "http", server.port("inbound"));
    let mut client = shim(
        &scratch,
        &authority,
        "web",
        &[
            "--upstream",
            "redis.shop:6379=127.0.0.1:0",
            "--upstream",
            "tcp://redis.shop:6379=127.0.0.1:0",
            "--workers",
            "2",
        ],
    );
    client.ready().await;
    let ports: Vec<SocketAddr> = client
        .ports
        .iter()
        .filter(|(name, _)| name == "upstream")
        .map(|(_, addr)| *addr)
        .collect();
    let sent: Vec<u8> = (0..1_000_000_u32).map(|n| n as u8).collect();
    // The first port waits for a request; the flag decides at the second. There the connector still
    // takes the port for one of requests, and says so.
    assert!(talk(ports[0], b"").await.is_err());
    policy(&scratch, "tcp", server.port("inbound"));
    until("the first port is one of bytes", async || {
        talk(ports[0], b"").await.is_ok()
    })
    .await;
    for port in ports {
        assert!(talk(port, &sent).await.unwrap() == sent);
    }
    println!("1,000,000 bytes there and back through two shims");

    // A stop bounds what is open: by nine tenths of the second that its flag says.
    let mut open = TcpStream::connect(client.port("upstream")).await.unwrap();
    let mut greeting = [0; 3];
    open.read_exact(&mut greeting).await.unwrap();
    let began = Instant::now();
    client.signal(Signal::TERM);
    assert_eq!(client.end().await.code(), Some(0));
    let took = began.elapsed();
    println!("a stop with an open connection took {took:.1?}");
    assert!(
        took >= Duration::from_millis(900) && took < Duration::from_secs(10),
        "{took:?}"
    );
    // It is cut, by an end or a reset, without another byte.
    assert!(!matches!(open.read(&mut greeting).await, Ok(1..)));
    server.signal(Signal::TERM);
    assert_eq!(server.end().await.code(), Some(0));
}
