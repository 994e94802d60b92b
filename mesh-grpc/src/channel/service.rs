use std::{
    fmt,
    path::PathBuf,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::future::BoxFuture;
use http::{Request, Response, Uri, uri::Authority};
use hyper::body::Incoming;
use mesh_core::error::{ErrorKind, MeshError};
use mesh_tower::{
    tls::{ClientTls, Credentials},
    transport::{Connect, TcpConnect},
};
use tokio::sync::Mutex;

use super::{
    ControlAddr,
    connect::{Connection, Target},
};

/// A connection to a control server as a tower service. Clones share it.
#[derive(Clone)]
pub struct Channel {
    inner: Arc<Inner>,
}

struct Inner {
    target: Target,
    /// Locked while connecting, so that calls of one moment share one connection.
    connection: Mutex<Option<Connection>>,
}

// === impl Channel ===

impl Channel {
    /// With the own identity. The server must be the control server of the own trust domain.
    pub fn new(addr: ControlAddr, credentials: &Credentials) -> Self {
        let tls = ClientTls::new(credentials);
        Self::to(Target::Tls {
            addr,
            tls,
            credentials: Some(credentials.clone()),
            connector: Arc::new(TcpConnect::new()),
        })
    }

    /// Without an identity: for joining. The server must be a control server whose authority has this SHA-256.
    pub fn pinned(addr: ControlAddr, authority_sha256: [u8; 32]) -> Self {
        let tls = ClientTls::pinned(authority_sha256);
        Self::to(Target::Tls {
            addr,
            tls,
            credentials: None,
            connector: Arc::new(TcpConnect::new()),
        })
    }

    /// Over a Unix socket, which its file mode protects: for `meshctl` on the server's machine.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::to(Target::Unix(path.into()))
    }

    /// Other connections than TCP, for simulated networks.
    #[must_use]
    pub fn with_connector(self, connector: Arc<dyn Connect>) -> Self {
        let mut target = self.inner.target.clone();
        if let Target::Tls { connector: old, .. } = &mut target {
            *old = connector;
        }
        Self::to(target)
    }

    fn to(target: Target) -> Self {
        Self {
            inner: Arc::new(Inner {
                target,
                connection: Mutex::new(None),
            }),
        }
    }

    /// Connects now, unless connected.
    pub async fn connect(&self) -> Result<(), MeshError> {
        self.inner.sender().await.map(drop)
    }
}

impl Inner {
    async fn sender(
        &self,
    ) -> Result<hyper::client::conn::http2::SendRequest<tonic::body::Body>, MeshError> {
        let mut connection = self.connection.lock().await;
        match &*connection {
            Some(open) if !open.send.is_closed() => Ok(open.send.clone()),
            _ => {
                // Not kept on failure: the next call tries anew.
                *connection = None;
                let open = self.target.connect().await?;
                Ok(connection.insert(open).send.clone())
            }
        }
    }

    async fn call(
        &self,
        mut request: Request<tonic::body::Body>,
    ) -> Result<Response<Incoming>, MeshError> {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = self.target.scheme().parse().ok();
        parts.authority = Some(Authority::from_static("control"));
        *request.uri_mut() = Uri::from_parts(parts).map_err(|error| {
            MeshError::new(ErrorKind::Internal, "a call without a path").with_source(error)
        })?;
        let mut sender = self.sender().await?;
        let broken = |error: hyper::Error| {
            MeshError::new(
                ErrorKind::Connect,
                format!("the connection to {} broke", self.target),
            )
            .with_code(super::connect::code(1002))
            .with_source(error)
        };
        sender.ready().await.map_err(broken)?;
        sender.send_request(request).await.map_err(broken)
    }
}

impl tower_service::Service<Request<tonic::body::Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = MeshError;
    type Future = BoxFuture<'static, Result<Response<Incoming>, MeshError>>;

    /// Always ready: connecting happens in the call.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        let inner = self.inner.clone();
        Box::pin(async move { inner.call(request).await })
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Channel({})", self.inner.target)
    }
}
