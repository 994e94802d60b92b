#![no_main]
//! Bytes of a backend that a client of the mesh has called: an answer or an error with a code, soon.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_core::future::BoxFuture;
use http::Request;
use http_body_util::BodyExt as _;
use libfuzzer_sys::fuzz_target;
use mesh_tower::transport::{BoxIo, Connect};
use mesh_tower::{Mesh, MeshBody, MeshClient};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Runtime;
use tower_service::Service as _;

/// A network in which everybody says the same.
#[derive(Clone, Debug, Default)]
struct Says(Arc<Mutex<Vec<u8>>>);

impl Connect for Says {
    fn connect(&self, _: SocketAddr) -> BoxFuture<'static, io::Result<BoxIo>> {
        let bytes = self.0.lock().expect("one thread").clone();
        Box::pin(async move {
            let (near, mut far) = tokio::io::duplex(1 << 20);
            tokio::spawn(async move {
                let mut asked = [0; 1024];
                // Not before it is asked: what comes earlier is nobody's answer.
                let _ = far.read(&mut asked).await;
                let _ = far.write_all(&bytes).await;
            });
            Ok(Box::new(near) as BoxIo)
        })
    }
}

struct World {
    runtime: Runtime,
    says: Says,
    client: MeshClient,
    _mesh: Mesh,
}

thread_local! {
    static WORLD: World = {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let says = Says::default();
        let connector = Arc::new(says.clone());
        let mesh = runtime.block_on(async move {
            Mesh::builder("shop/fuzzed")
                .connector(connector)
                .policy_text("service: shop/backend\nroute: [{ timeout: 1s }]\n\
                    endpoints: { static: [{ address: \"10.0.0.1:80\" }] }\n")
                .build()
                .expect("a mesh")
        });
        let client = mesh.client("shop/backend");
        World { runtime, says, client, _mesh: mesh }
    };
}

fuzz_target!(|bytes: &[u8]| {
    WORLD.with(|world| {
        *world.says.0.lock().expect("one thread") = bytes.to_vec();
        let mut client = world.client.clone();
        let request = Request::get("/").body(MeshBody::empty()).expect("a request");
        let call = async move {
            match client.call(request).await {
                // Whatever the status: it is a server that must not pass an odd one on.
                Ok(response) => drop(response.into_body().collect().await),
                Err(error) => assert!(error.code().to_string().starts_with('M')),
            }
        };
        let bounded = world.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(4), call).await });
        bounded.expect("a call ends");
    });
});
