//! The server's own mesh handle: its identity, issued by its own CA, and the gRPC port behind the
//! inbound stack of every workload.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Request, Response};
use mesh_core::error::MeshError;
use mesh_core::policy::{ConcurrencyAlgorithm, ConcurrencyPolicy};
use mesh_tower::Mesh;
use mesh_tower::MeshBody;
use mesh_tower::server::{ServerHandle, TlsChoice};
use mesh_tower::tls::{Credentials, Identity, TrustRoots};
use mesh_tower::transport::ConnInfo;
use tower::service_fn;

use super::caller::Caller;
use super::config::Config;
use super::rpc::Members;
use super::state::Shared;
use crate::Error;

/// The identity of every control server, and what members expect: `/ns/mesh/sa/control`. Nobody
/// else is given a certificate of this namespace: it would let them pass for the control server.
pub(super) const NAMESPACE: &str = "mesh";
const NAME: &str = "control";
/// After a failed renewal.
const TRY_AGAIN: Duration = Duration::from_secs(5);

pub(super) fn mesh(config: &Config) -> Result<Mesh, Error> {
    let built = Mesh::builder(&format!("{NAMESPACE}/{NAME}"))
        .namespace(&config.default_namespace)
        .credentials(Credentials::new())
        .build();
    built.map_err(|error| from_mesh(&error, "look at the log"))
}

/// Serves members and joiners on `listen`.
pub(super) fn serve(
    mesh: &Mesh,
    listen: SocketAddr,
    members: Members,
) -> Result<ServerHandle, Error> {
    let service = service_fn(move |mut request: Request<MeshBody>| {
        let members = members.clone();
        async move {
            let caller = caller(&request);
            request.extensions_mut().insert(caller);
            Ok::<Response<tonic::body::Body>, Infallible>(members.call(request).await)
        }
    });
    let next = format!(
        "stop what listens on port {}, or give another --listen",
        listen.port()
    );
    // Members hold streams and wait for news: their latency says nothing of the load.
    let unlimited = ConcurrencyPolicy::default().with_algorithm(ConcurrencyAlgorithm::Off);
    mesh.server()
        .bind(&listen.to_string())
        .and_then(|server| {
            let server = server.announce(false).concurrency(unlimited);
            server.tls(TlsChoice::Join).serve(service)
        })
        .map_err(|error| from_mesh(&error, &next))
}

/// Issues the server's own certificate anew, and trusts the CA. Returns when it ends.
pub(super) fn renew(shared: &Shared, credentials: &Credentials) -> Result<SystemTime, Error> {
    let failed = |what: String| Error::new("M5003", what, "restore the CA in the state directory");
    let id = shared.ca.spiffe_id(NAMESPACE, NAME);
    let (chain, key, not_after) = shared
        .ca
        .own_identity(&id, SystemTime::now())
        .map_err(|error| failed(format!("the server's own certificate {error}")))?;
    let identity = Identity::from_pem(&chain, &key).map_err(|error| failed(error.to_string()))?;
    let roots = [(
        shared.ca.trust_domain().to_owned(),
        shared.ca.certificate_pem().to_owned(),
    )];
    let trust = TrustRoots::from_pem(roots).map_err(|error| failed(error.to_string()))?;
    credentials.set_trust(trust);
    credentials.set_identity(identity);
    Ok(not_after)
}

/// Renews at 70 % of the life of a leaf.
pub(super) async fn keep_renewed(shared: Arc<Shared>, credentials: Credentials) {
    let mut pause = shared.leaf_ttl.mul_f64(0.7);
    loop {
        tokio::time::sleep(pause).await;
        pause = match renew(&shared, &credentials) {
            Ok(_) => shared.leaf_ttl.mul_f64(0.7),
            Err(error) => {
                shared.event(
                    "identity",
                    "control server",
                    error.to_string(),
                    error.code(),
                );
                TRY_AGAIN
            }
        };
    }
}

fn caller(request: &Request<MeshBody>) -> Caller {
    let Some(info) = request.extensions().get::<ConnInfo>() else {
        return Caller::default();
    };
    Caller {
        identity: info.peer.as_ref().map(|id| id.as_str().to_owned()),
        service: info.peer.as_ref().and_then(|id| id.service()),
        addr: info.remote,
    }
}

fn from_mesh(error: &MeshError, next: &str) -> Error {
    let code = error.code().to_string();
    let known = ["M1003", "M1004"]
        .into_iter()
        .find(|known| *known == code)
        .unwrap_or("M1003");
    // The code is said once, at the end of our own line.
    let text = error.to_string();
    Error::new(
        known,
        text.trim_end_matches(&format!(" [{code}]")).to_owned(),
        next,
    )
}
