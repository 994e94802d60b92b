//! A proxy's part in an upgrade.

use std::future::Future;
use std::io;

use http::header::UPGRADE;
use http::{Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;

use super::{allowed, on};
use crate::body::MeshBody;
use crate::headers::find;
use crate::server::accepted;
use crate::transport::{BoxIo, abort, both_ways};

/// The bytes of a tunnel that a request to a server of ours asks for (Upgrade, CONNECT), once it is
/// answered with it. [`abort`] resets them.
///
/// # Errors
///
/// When the caller went away, or is not answered with a tunnel.
pub fn bytes_of<B>(
    request: &mut Request<B>,
) -> impl Future<Output = io::Result<BoxIo>> + Send + 'static {
    let upgrade = hyper::upgrade::on(request);
    async move { upgrade.await.map(accepted).map_err(io::Error::other) }
}

/// Joins a tunnel that a caller asks for to the one that the service gives.
///
/// Taken from the request that a server of ours has received:
///
/// ```no_run
/// # use http::{Request, Response};
/// # use mesh_tower::{MeshBody, MeshClient, MeshError, upgrade::Relay};
/// # use tower_service::Service as _;
/// async fn proxy(
///     mut client: MeshClient,
///     mut request: Request<MeshBody>,
/// ) -> Result<Response<MeshBody>, MeshError> {
///     let relay = Relay::of(&mut request);
///     let response = client.call(request).await?;
///     Ok(match relay {
///         Some(relay) => relay.join(response),
///         None => response,
///     })
/// }
/// ```
#[derive(Debug)]
pub struct Relay {
    caller: OnUpgrade,
}

impl Relay {
    /// `None` if the request, which a server of ours has received, asks for no tunnel that may be
    /// made.
    pub fn of<B>(request: &mut Request<B>) -> Option<Self> {
        find(request.headers(), &UPGRADE)?;
        allowed(request.headers())?;
        request.extensions().get::<OnUpgrade>()?;
        let caller = hyper::upgrade::on(request);
        Some(Self { caller })
    }

    /// Whether the service has given it.
    pub fn is_given(response: &Response<MeshBody>) -> bool {
        response.status() == StatusCode::SWITCHING_PROTOCOLS
    }

    /// The answer to the caller: the tunnel's, if it had asked for one.
    pub fn answer(relay: Option<Self>, response: Response<MeshBody>) -> Response<MeshBody> {
        match relay {
            Some(relay) => relay.join(response),
            None => response,
        }
    }

    /// If the service has given the tunnel, the answer to the caller; bytes then go both ways until
    /// both sides have ended, or one fails. Any other answer is left as it is.
    pub fn join(self, response: Response<MeshBody>) -> Response<MeshBody> {
        if !Self::is_given(&response) {
            return response;
        }
        let mut answer = Response::new(MeshBody::empty());
        *answer.status_mut() = response.status();
        *answer.headers_mut() = response.headers().clone();
        let service = on(response);
        // On no list: it ends with the caller's connection, which its server looks after.
        tokio::spawn(async move {
            let (caller, mut service) = match (self.caller.await, service.await) {
                (Ok(caller), Ok(service)) => (caller, service),
                (Err(error), _) => {
                    tracing::debug!(target: "mesh::upgrade", %error, "the caller went away");
                    return;
                }
                (_, Err(error)) => {
                    tracing::debug!(target: "mesh::upgrade", %error, "no tunnel");
                    return;
                }
            };
            let mut caller = accepted(caller);
            let copied = both_ways(&mut caller, &mut service).await;
            if let Err(error) = copied {
                tracing::debug!(target: "mesh::upgrade", %error, "a tunnel ended early");
                // What one side has broken off must not look whole to the other.
                abort(caller);
                service.abort();
            }
        });
        answer
    }
}
