//! How much a request matters, decided once: by the policy, else by what a peer of the mesh says of
//! it, else by the default.
//!
//! Everything below finds it in the [`RequestContext`], and the calls that the handler makes
//! inherit it. The header is put right as well, so that an application behind a shim sees what was
//! decided and not what a stranger claimed.
//!
//! ```
//! use mesh_core::policy::CriticalityPolicy;
//! use mesh_tower::criticality::CriticalityLayer;
//!
//! let _layer = CriticalityLayer::fixed(CriticalityPolicy::default());
//! ```

use std::task::{Context, Poll};

use http::{HeaderValue, Request, Response};
use mesh_core::{
    context::{Arrival, Criticality as Level, RequestContext},
    metadata, overload,
    policy::{CriticalityPolicy, InboundTraffic},
};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    body::MeshBody,
    stack::{Describe, is_grpc},
    traffic::{Follow, Home},
};

/// Decides how much requests matter.
#[derive(Clone, Debug)]
pub struct CriticalityLayer {
    traffic: Follow,
    home: Home,
}

/// Service of [`CriticalityLayer`].
#[derive(Clone, Debug)]
pub struct Criticality<S> {
    inner: S,
    layer: CriticalityLayer,
}

// === impl CriticalityLayer ===

impl CriticalityLayer {
    /// A policy that does not change, for a layer that is used alone.
    pub fn fixed(policy: CriticalityPolicy) -> Self {
        Self::follow(
            Follow::fixed(InboundTraffic::default().with_criticality(policy)),
            Home::default(),
        )
    }

    pub(crate) fn follow(traffic: Follow, home: Home) -> Self {
        Self { traffic, home }
    }

    fn decide<B>(&mut self, request: &Request<B>) -> Option<Level> {
        let policy = self.traffic.now().criticality();
        let headers = request.headers();
        if policy.rules().is_empty()
            && policy.default_level() == Level::default()
            && !headers.contains_key(metadata::CRITICALITY)
        {
            return None;
        }
        let context = request.extensions().get::<RequestContext>();
        let call = Arrival {
            peer: context.and_then(|context| context.peer.as_ref()),
            domain: self.home.domain().map(|domain| &**domain),
            method: request.method(),
            path: request.uri().path(),
            grpc: is_grpc(headers),
            headers,
        };
        Some(overload::level(self.traffic.last().criticality(), &call))
    }
}

impl<S> Layer<S> for CriticalityLayer {
    type Service = Criticality<S>;

    fn layer(&self, inner: S) -> Criticality<S> {
        Criticality {
            inner,
            layer: self.clone(),
        }
    }
}

// === impl Criticality ===

impl<S, B> Service<Request<B>> for Criticality<S>
where
    S: Service<Request<B>, Response = Response<MeshBody>>,
{
    type Response = Response<MeshBody>;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if let Some(level) = self.layer.decide(&request) {
            if let Some(context) = request.extensions_mut().get_mut::<RequestContext>() {
                context.criticality = level;
            }
            let headers = request.headers_mut();
            if level == Level::default() {
                headers.remove(metadata::CRITICALITY);
            } else {
                let text = HeaderValue::from_static(level.as_str());
                headers.insert(metadata::CRITICALITY, text);
            }
        }
        self.inner.call(request)
    }
}

impl<S: Describe> Describe for Criticality<S> {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("criticality");
        self.inner.describe(into);
    }
}
