#![no_main]
//! What a user brings as a session: the call is answered, whatever it is, and never fails for it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_core::future::BoxFuture;
use http::{HeaderValue, Request};
use http_body_util::BodyExt as _;
use libfuzzer_sys::fuzz_target;
use mesh_tower::transport::{BoxIo, Connect};
use mesh_tower::{Mesh, MeshBody, MeshClient};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Runtime;
use tower_service::Service as _;

/// A network in which everybody answers.
#[derive(Debug)]
struct Answers;

impl Connect for Answers {
    fn connect(&self, _: SocketAddr) -> BoxFuture<'static, io::Result<BoxIo>> {
        Box::pin(async {
            let (near, mut far) = tokio::io::duplex(1 << 16);
            tokio::spawn(async move {
                let mut asked = Vec::new();
                while let Ok(1..) = far.read_buf(&mut asked).await {
                    if asked.ends_with(b"\r\n\r\n") {
                        asked.clear();
                        let _ = far.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
                    }
                }
            });
            Ok(Box::new(near) as BoxIo)
        })
    }
}

struct World {
    runtime: Runtime,
    client: MeshClient,
    _mesh: Mesh,
}

thread_local! {
    static WORLD: World = {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mesh = runtime.block_on(async move {
            Mesh::builder("shop/fuzzed")
                .connector(Arc::new(Answers))
                .policy_text("service: shop/backend\n\
                    route: [{ timeout: 1s, session: { sessionName: s, idleTimeout: 1h } }]\n\
                    endpoints: { static: [{ address: \"10.0.0.1:80\" }, { address: \"10.0.0.2:80\" }] }\n")
                .build()
                .expect("a mesh")
        });
        let client = mesh.client("shop/backend");
        World { runtime, client, _mesh: mesh }
    };
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(cookie) = HeaderValue::from_bytes(bytes) else { return };
    WORLD.with(|world| {
        world.runtime.block_on(async {
            let mut client = world.client.clone();
            let request = Request::get("http://backend.shop/").header("cookie", cookie);
            let request = request.body(MeshBody::empty()).expect("a request");
            let answer = client.call(request).await.expect("an answer");
            assert_eq!(answer.status(), 204, "{:?}", answer.headers());
            let _ = answer.into_body().collect().await;
        });
    });
});
