//! Two meshes on loopback: one that calls, one in front of an application of bytes.

mod carry;
mod choose;
mod port;
mod refuse;

use std::net::SocketAddr;
use std::time::Duration;

use mesh_core::policy::store::Layer;
use mesh_core::policy::text::{Source, load};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::Mesh;
use crate::drain::Timing;
use crate::server::ServerHandle;
use crate::tls::testing::Authority;

const HANGS: Duration = Duration::from_secs(20);

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(HANGS, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: nothing happened within {HANGS:?}"),
    }
}

/// Looks until it is so.
async fn until(what: &str, mut is: impl FnMut() -> bool) {
    soon(what, async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

fn id(service: &str) -> String {
    format!("spiffe://mesh.local/ns/shop/sa/{service}")
}

fn mesh(authority: &Authority, service: &str) -> Mesh {
    let mesh = Mesh::builder(service)
        .namespace("shop")
        .credentials(authority.credentials(&id(service)))
        .build()
        .unwrap();
    mesh.drain().set_timing(Timing {
        unready: Duration::ZERO,
        in_flight: Duration::from_millis(300),
    });
    mesh
}

fn apply(mesh: &Mesh, text: &str) {
    let loaded = load(&[Source {
        name: "test.yaml".into(),
        text: text.into(),
    }]);
    assert!(
        !loaded.diagnostics.iter().any(|one| one.is_error()),
        "{:?}",
        loaded.diagnostics
    );
    mesh.store().apply(Layer::Code, loaded.resources).unwrap();
}

/// `redis` at these addresses, of bytes, each with the identity of `redis`.
fn redis(addrs: &[SocketAddr], secured: bool) -> String {
    let identity = match secured {
        true => format!(", identity: \"{}\"", id("redis")),
        false => String::new(),
    };
    let list: Vec<_> = addrs
        .iter()
        .map(|addr| format!("{{ address: \"{addr}\"{identity} }}"))
        .collect();
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: redis, namespace: shop }}\n\
         spec:\n  ports: [{{ port: 6379, appProtocol: tcp }}]\n  \
         endpoints: {{ static: [{}] }}\n",
        list.join(", ")
    )
}

/// An application that sends back what it gets, and ends when its client does.
async fn echo() -> SocketAddr {
    app(|mut io| async move {
        let (mut read, mut write) = io.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
        let _ = write.shutdown().await;
    })
    .await
}

/// An application that does this with each connection.
async fn app<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            tokio::spawn(serve(io));
        }
    });
    addr
}

fn serve(mesh: &Mesh, app: SocketAddr) -> ServerHandle {
    let server = mesh.server().bind("127.0.0.1:0").unwrap();
    server.serve_tcp(app).unwrap()
}

/// A listener in front of `mesh.tcp`, as the shim has it.
async fn listen(mesh: &Mesh) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let client = mesh.tcp("redis:6379");
    tokio::spawn(async move {
        while let Ok((io, from)) = listener.accept().await {
            let mut client = client.clone();
            tokio::spawn(async move {
                let cut = std::future::pending();
                let _ = client.carry(Box::new(io), from, cut).await;
            });
        }
    });
    addr
}

/// Sends, ends its half, and reads to the end.
async fn ask(addr: SocketAddr, sent: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut io = TcpStream::connect(addr).await?;
    io.write_all(sent).await?;
    io.shutdown().await?;
    let mut all = Vec::new();
    soon("an answer and its end", io.read_to_end(&mut all)).await?;
    Ok(all)
}

/// An address where nobody listens, and nobody will while this is kept.
fn closed() -> (tokio::net::TcpSocket, SocketAddr) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}
