//! Over real sockets on loopback, except where silence is the point.

mod failures;
mod h1;
mod h2;
mod policy;
mod rotation;
mod scaling;
mod server;

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use mesh_core::error::MeshError;

use super::{EndpointPool, PoolConfig, TcpConnect};
use crate::body::MeshBody;

/// Longer than any test needs: only a defect waits for it.
const LONG: Duration = Duration::from_secs(30);

fn pool(config: PoolConfig) -> EndpointPool {
    EndpointPool::new(config, Arc::new(TcpConnect::new()))
}

fn get(path: &str) -> Request<MeshBody> {
    Request::builder()
        .uri(path)
        .body(MeshBody::empty())
        .expect("a request")
}

async fn text(response: Response<MeshBody>) -> String {
    let bytes = response
        .into_body()
        .collect_to_bytes(1 << 20)
        .await
        .expect("a body");
    String::from_utf8(bytes.to_vec()).expect("text")
}

async fn call(pool: &EndpointPool, path: &str) -> Result<String, MeshError> {
    Ok(text(pool.call(get(path)).await?).await)
}

/// Waits for something that other tasks bring about.
async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let wait = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(
        tokio::time::timeout(LONG, wait).await.is_ok(),
        "{what}: never"
    );
}
