//! What a [`Mesh`] hands out for serving.

use std::future::Future;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use mesh_core::error::MeshError;
use tower_service::Service;

use super::{
    Limits, ServerBuilder, ServerLayer,
    stack::{Own, Parts},
};
use crate::{BoxError, body::MeshBody, mesh::Mesh};

impl Mesh {
    /// Starts building a server.
    pub fn server(&self) -> ServerBuilder {
        ServerBuilder::new(self.clone())
    }

    /// The inbound stack as a layer, for those who keep their own server. It does not terminate
    /// TLS, and says so once in the log.
    pub fn server_layer(&self) -> ServerLayer {
        tracing::info!(
            target: "mesh::server",
            service = %self.service_name(),
            "inbound layer without TLS: the server below it must secure its connections"
        );
        let own = Own {
            requests: Limits::default().requests,
            timeout: None,
            concurrency: None,
            outside: false,
        };
        ServerLayer::new(Parts::new(self, &own))
    }

    /// Serves until SIGTERM or ctrl-c, then drains: nothing in flight is cut.
    ///
    /// # Errors
    /// When the address cannot be read or is taken.
    pub fn serve<S, R>(
        &self,
        addr: &str,
        service: S,
    ) -> impl Future<Output = Result<(), MeshError>> + Send + 'static
    where
        S: Service<Request<MeshBody>, Response = Response<R>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        R: Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let mesh = self.clone();
        let addr = addr.to_owned();
        async move {
            let server = mesh.server().bind(&addr)?.serve(service)?;
            tracing::info!(
                target: "mesh::server",
                service = %mesh.service_name(),
                addr = %server.local_addr(),
                "serving"
            );
            tokio::select! {
                () = stop_signal() => mesh.shutdown().await,
                // Somebody else drains the mesh.
                () = server.done() => {}
            }
            Ok(())
        }
    }
}

/// Waits for SIGTERM or ctrl-c.
async fn stop_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        // Without a handler the signal ends the process, which is what it would do anyway.
        if let (Ok(mut terminate), Ok(mut interrupt)) = (
            signal(SignalKind::terminate()),
            signal(SignalKind::interrupt()),
        ) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            return;
        }
    }
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
