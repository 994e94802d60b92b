#![no_main]
//! Bytes of a caller at a server of the mesh, HTTP/1 or HTTP/2: it answers or lets go, soon, and in HTTP.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use libfuzzer_sys::fuzz_target;
use mesh_tower::transport::{Accept, BoxIo};
use mesh_tower::{Mesh, MeshBody};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

struct Memory(mpsc::Receiver<BoxIo>);

impl Accept for Memory {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(BoxIo, SocketAddr)>> {
        match ready!(self.0.poll_recv(cx)) {
            Some(io) => Poll::Ready(Ok((io, SocketAddr::from(([127, 0, 0, 1], 1))))),
            None => Poll::Pending,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([127, 0, 0, 1], 2)))
    }
}

thread_local! {
    static WORLD: (Runtime, Mesh) = {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mesh = runtime.block_on(async { Mesh::builder("shop/fuzzed").build().expect("a mesh") });
        (runtime, mesh)
    };
}

async fn answer(request: Request<MeshBody>) -> Result<Response<MeshBody>, Infallible> {
    // What reached the service is one request to one host.
    assert!(request.headers().get_all("host").iter().count() <= 1);
    assert!(!request.headers().contains_key("transfer-encoding"));
    Ok(Response::new(request.into_body()))
}

async fn exchange(mesh: &Mesh, bytes: &[u8]) {
    let (connect, accept) = mpsc::channel(1);
    let server = mesh.server().announce(false).accept(Memory(accept));
    let _server = server.serve(tower::service_fn(answer)).expect("a server");
    let (mut near, far) = tokio::io::duplex(1 << 20);
    connect.send(Box::new(far)).await.expect("the server takes it");
    let _ = near.write_all(bytes).await;
    let _ = near.shutdown().await;
    let mut said = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(4), near.read_to_end(&mut said));
    let ended = read.await.is_ok();
    // HTTP/2 keeps a connection whose streams wait for its own time; HTTP/1 has nothing to wait for.
    assert!(ended || bytes.starts_with(b"PRI * HTTP/2.0"), "not let go");
    let http1 = said.starts_with(b"HTTP/1.");
    // The length of a first frame of HTTP/2 fits in two bytes.
    assert!(said.is_empty() || http1 || said[0] == 0, "{:?}", &said[..said.len().min(40)]);
}

fuzz_target!(|bytes: &[u8]| {
    WORLD.with(|(runtime, mesh)| runtime.block_on(exchange(mesh, bytes)));
});
