use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::TestEndpoint;
use crate::mesh::{Mesh, MeshBuilder};
use crate::transport::{BoxIo, Connect};

/// A network in memory. Clones are the same network.
#[derive(Clone, Debug, Default)]
pub struct TestNet {
    endpoints: Arc<Mutex<HashMap<SocketAddr, TestEndpoint>>>,
}

// === impl TestNet ===

impl TestNet {
    /// An empty network.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts an endpoint that answers 200 with an empty body until told otherwise.
    ///
    /// # Panics
    /// When `addr` is not `ip:port`.
    #[track_caller]
    pub fn endpoint(&self, addr: &str) -> TestEndpoint {
        let addr: SocketAddr = match addr.parse() {
            Ok(addr) => addr,
            Err(error) => panic!("{addr:?} is no address: {error}"),
        };
        let endpoint = TestEndpoint::new(addr);
        self.lock().insert(addr, endpoint.clone());
        endpoint
    }

    /// A builder of a mesh whose connections are made in this network.
    #[track_caller]
    pub fn mesh(&self, service: &str) -> MeshBuilder {
        Mesh::builder(service).connector(Arc::new(self.clone()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SocketAddr, TestEndpoint>> {
        self.endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connect for TestNet {
    fn connect(
        &self,
        addr: SocketAddr,
    ) -> futures_core::future::BoxFuture<'static, io::Result<BoxIo>> {
        let endpoint = self.lock().get(&addr).cloned();
        Box::pin(async move {
            match endpoint {
                Some(endpoint) => endpoint.accept().await,
                None => Err(io::ErrorKind::ConnectionRefused.into()),
            }
        })
    }
}
