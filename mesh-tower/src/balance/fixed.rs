use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use mesh_core::balance::{Balancer, EndpointInfo, EndpointSet, Place, Plan};
use mesh_core::error::{ErrorKind, MeshError};
use mesh_core::policy::BalancePolicy;
use mesh_core::policy::model::LocalityPolicy;
use tower_service::Service;

use crate::BoxError;
use crate::body::MeshBody;
use crate::endpoint::{EndpointLayer, EndpointService};
use crate::runtime;
use crate::stack::{BoxFuture, into_mesh_error};

/// Balances over a fixed list of endpoints, each with a service of its own.
#[derive(Clone, Debug)]
pub struct Balance<S> {
    shared: Arc<Shared<S>>,
}

#[derive(Debug)]
struct Shared<S> {
    set: EndpointSet,
    balancer: Balancer,
    /// By position in `set`.
    services: Vec<S>,
}

// === impl Balance ===

impl<S> Balance<S> {
    /// A balancer over `endpoints`. Of two with one address and identity the second is left out.
    pub fn new(
        policy: &BalancePolicy,
        endpoints: impl IntoIterator<Item = (EndpointInfo, S)>,
    ) -> Self {
        let (infos, services): (Vec<_>, Vec<_>) = endpoints.into_iter().unzip();
        let set = EndpointSet::new(infos.iter().cloned());
        let mut by_position: Vec<(usize, S)> = Vec::new();
        for (info, service) in infos.iter().zip(services) {
            let at = set.iter().position(|one| {
                one.info().addr == info.addr && one.info().identity == info.identity
            });
            if let Some(at) = at.filter(|at| by_position.iter().all(|(seen, _)| seen != at)) {
                by_position.push((at, service));
            }
        }
        by_position.sort_by_key(|(at, _)| *at);
        let services = by_position
            .into_iter()
            .map(|(_, service)| service)
            .collect();
        let plan = Plan {
            balance: policy,
            locality: &LocalityPolicy::default(),
            place: &Place::default(),
        };
        Self {
            shared: Arc::new(Shared {
                set: set.clone(),
                balancer: Balancer::prepared(&plan, &set, None, runtime::now()),
                services,
            }),
        }
    }

    /// The endpoints with what was observed of them.
    pub fn endpoints(&self) -> &EndpointSet {
        &self.shared.set
    }
}

impl<S, B, R> Service<Request<B>> for Balance<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<MeshBody>;
    type Error = MeshError;
    type Future = BoxFuture<Result<Response<MeshBody>, MeshError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        // Which endpoint has to be ready is known only when it is picked.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let shared = self.shared.clone();
        Box::pin(async move {
            let Shared {
                set,
                balancer,
                services,
            } = &*shared;
            let pick = balancer.pick(set, runtime::now(), &[], &mut fastrand::Rng::new());
            let picked = pick.and_then(|ix| Some((ix, services.get(ix)?.clone())));
            let Some((ix, service)) = picked else {
                return Err(MeshError::new(
                    ErrorKind::NoEndpoints,
                    "there is no endpoint",
                ));
            };
            let layer = EndpointLayer::new(set.clone(), ix, *balancer.policy());
            let mut service = EndpointService::from_parts(layer, service);
            std::future::poll_fn(|cx| Service::<Request<B>>::poll_ready(&mut service, cx))
                .await
                .map_err(into_mesh_error)?;
            service.call(request).await
        })
    }
}
