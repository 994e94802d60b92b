use std::net::SocketAddr;
use std::time::Duration;

use mesh_tower::Mesh;
use mesh_tower::tcp::Carried;
use mesh_tower::tls::{Alpn, ClientTls, Expect};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::serve_sni;

const PATIENCE: Duration = Duration::from_secs(20);

/// The first bytes of a real client that asks for this name.
async fn hello(name: &str) -> Vec<u8> {
    let key = rcgen::generate_simple_self_signed(["any.example".to_owned()]).unwrap();
    let tls = ClientTls::with_roots_pem(key.cert.pem()).unwrap();
    let (client, mut wire) = tokio::io::duplex(64 * 1024);
    let expect = Expect::Name(name.to_owned());
    let any = [127, 0, 0, 1].into();
    let task = tokio::spawn(async move {
        let _ = tls
            .connect(Box::new(client), any, &expect, Alpn::Both)
            .await;
    });
    let mut bytes = vec![0; 16 * 1024];
    let got = wire.read(&mut bytes).await.unwrap();
    task.abort();
    bytes.truncate(got);
    bytes
}

async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut io, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = io.split();
                tokio::io::copy(&mut read, &mut write).await?;
                write.shutdown().await
            });
        }
    });
    addr
}

async fn ask(addr: SocketAddr, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut io = TcpStream::connect(addr).await?;
    io.write_all(bytes).await?;
    io.shutdown().await?;
    let mut all = Vec::new();
    tokio::time::timeout(PATIENCE, io.read_to_end(&mut all)).await??;
    Ok(all)
}

#[tokio::test]
async fn tls_goes_untouched_to_the_service_that_its_name_means() {
    let policy = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: db, namespace: shop }}\n\
         spec: {{ endpoints: {{ static: [{{ address: \"{}\" }}] }} }}\n",
        echo().await
    );
    let mesh = Mesh::builder("shop/web")
        .policy_text(&policy)
        .build()
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = serve_sni(mesh.clone(), listener, Carried::new(), stop.clone());
    tokio::spawn(serving);

    let sent = hello("db.shop").await;
    assert_eq!(ask(addr, &sent).await.unwrap(), sent);
    // Not known, nameless, no TLS: reset.
    for bytes in [
        hello("nobody.example").await,
        hello("192.0.2.1").await,
        b"GET / HTTP/1.1\r\nhost: db.shop\r\n\r\n".to_vec(),
    ] {
        assert!(ask(addr, &bytes).await.is_err());
    }
    let text = mesh.metrics_text();
    for line in [
        "service=\"shop/db\",result=\"opened\"} 1",
        "service=\"(unknown)\",result=\"no_route\"} 2",
        "service=\"(unknown)\",result=\"protocol\"} 1",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    stop.cancel();
}
