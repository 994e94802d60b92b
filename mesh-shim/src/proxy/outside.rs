//! Requests to hosts that the policy does not know, where `--egress report` lets them out: to an address of
//! the host's, as they are. No balancing, no retries, no identity: who wants those writes an `external`
//! service.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::uri::Authority;
use http::{Request, Response, Version};
use mesh_core::classify::grpc::is_grpc;
use mesh_core::error::{ErrorKind, MeshError};
use mesh_core::policy::defaults::STREAM_IDLE;
use mesh_tower::Mesh;
use mesh_tower::body::MeshBody;
use mesh_tower::transport::{Connect, EndpointPool, PoolConfig};
use tower_service::Service as _;

use crate::plain_peer::PlainPeer;

/// Hosts whose connections are kept; with more of them the one that was resolved first goes.
const HOSTS: usize = 100;
/// How long an address is used without another look.
const FRESH: Duration = Duration::from_secs(30);
/// The name's resolution.
const RESOLVE_WITHIN: Duration = Duration::from_secs(5);
/// HTTP's own port.
const PORT: u16 = 80;

/// One worker's connections to hosts outside.
pub(crate) struct Outside {
    connect: Arc<dyn Connect>,
    hosts: Mutex<HashMap<String, Host>>,
}

struct Host {
    pool: Arc<EndpointPool>,
    resolved: Instant,
}

// === impl Outside ===

impl Outside {
    pub(crate) fn new(mesh: &Mesh) -> Self {
        Self {
            connect: mesh.connector().clone(),
            hosts: Mutex::default(),
        }
    }

    /// Sends a request, whose URI is absolute. Nobody has said how long its answer may take: it may be
    /// silent for as long as a stream may.
    pub(crate) async fn call(
        &self,
        request: Request<MeshBody>,
    ) -> Result<Response<MeshBody>, MeshError> {
        let Some(authority) = request.uri().authority() else {
            return Err(MeshError::new(ErrorKind::NoRoute, "a request without host"));
        };
        let pool = match self.kept(authority.as_str()) {
            Some(pool) => pool,
            None => self.resolve(authority.clone()).await?,
        };
        let version = match is_grpc(request.headers()) {
            true => Version::HTTP_2,
            false => Version::HTTP_11,
        };
        let answer = PlainPeer::new(pool, version).call(request);
        match tokio::time::timeout(STREAM_IDLE, answer).await {
            Ok(answer) => answer,
            Err(_) => {
                let what = format!("no answer within {STREAM_IDLE:?}");
                Err(MeshError::new(ErrorKind::Deadline, what))
            }
        }
    }

    fn kept(&self, authority: &str) -> Option<Arc<EndpointPool>> {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let host = hosts.get(authority)?;
        (host.resolved.elapsed() < FRESH).then(|| host.pool.clone())
    }

    async fn resolve(&self, authority: Authority) -> Result<Arc<EndpointPool>, MeshError> {
        let [addr, alternate] = addresses(&authority).await?;
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let resolved = Instant::now();
        if let Some(host) = hosts.get_mut(authority.as_str())
            && Some(host.pool.config().addr) == addr
        {
            host.resolved = resolved;
            return Ok(host.pool.clone());
        }
        let Some(addr) = addr else {
            return Err(unresolved(authority.host(), "it has no address"));
        };
        let oldest = hosts.iter().min_by_key(|(_, host)| host.resolved);
        if let Some(oldest) = oldest.map(|(name, _)| name.clone())
            && hosts.len() >= HOSTS
        {
            hosts.remove(&oldest);
        }
        let config = PoolConfig::new(addr).with_alternate(alternate);
        let pool = Arc::new(EndpointPool::new(config, self.connect.clone()));
        let host = Host {
            pool: pool.clone(),
            resolved,
        };
        hosts.insert(authority.as_str().to_owned(), host);
        Ok(pool)
    }
}

/// The first address, and the first of the other family.
async fn addresses(authority: &Authority) -> Result<[Option<SocketAddr>; 2], MeshError> {
    let host = authority.host();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = tokio::net::lookup_host((bare, authority.port_u16().unwrap_or(PORT)));
    let found = match tokio::time::timeout(RESOLVE_WITHIN, found).await {
        Ok(found) => found.map_err(|error| unresolved(host, &error.to_string()))?,
        Err(_) => return Err(unresolved(host, "no answer within 5s")),
    };
    let found: Vec<_> = found.collect();
    let first = found.first().copied();
    let other = |addr: &&SocketAddr| first.is_some_and(|one| one.is_ipv4() != addr.is_ipv4());
    Ok([first, found.iter().find(other).copied()])
}

fn unresolved(host: &str, why: &str) -> MeshError {
    let what = format!("{host} is not in the policy, and its name leads nowhere: {why}");
    MeshError::new(ErrorKind::Dns, what)
}
