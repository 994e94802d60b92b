use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use mesh_core::error::MeshError;
use mesh_core::policy::{BudgetPolicy, RetryPolicy};
use mesh_core::retry::Budget;
use tower_layer::Layer;
use tower_service::Service;

use super::run::{Rules, run};
use crate::BoxError;
use crate::body::MeshBody;
use crate::stack::{BoxFuture, Describe, DynService, Seam, into_mesh_error};

/// Makes further attempts by a fixed policy.
#[derive(Clone, Debug)]
pub struct RetryLayer {
    policy: Option<RetryPolicy>,
    budget: Arc<Budget>,
}

/// The service of [`RetryLayer`]. Clones share the budget.
#[derive(Clone, Debug)]
pub struct RetryService<S> {
    inner: S,
    layer: RetryLayer,
}

/// Seam A's own service: retries by the policy of the route that the call has pinned.
pub(crate) struct RoutedRetry<S> {
    inner: S,
}

// === impl RetryLayer ===

impl RetryLayer {
    /// Retries by `policy`, on the default budget (20 % of calls in 10 s, and 10 a second).
    pub fn new(policy: RetryPolicy) -> Self {
        Self {
            policy: Some(policy),
            budget: Arc::default(),
        }
    }

    /// Retries only what provably was not processed.
    pub fn transparent() -> Self {
        Self {
            policy: None,
            budget: Arc::default(),
        }
    }

    /// The same with a budget of its own.
    #[must_use]
    pub fn with_budget(mut self, policy: &BudgetPolicy) -> Self {
        self.budget = Arc::new(Budget::new(policy));
        self
    }
}

impl<S> Layer<S> for RetryLayer {
    type Service = RetryService<S>;

    fn layer(&self, inner: S) -> RetryService<S> {
        RetryService {
            inner,
            layer: self.clone(),
        }
    }
}

// === impl RetryService ===

impl<S, B, R> Service<Request<B>> for RetryService<S>
where
    S: Service<Request<MeshBody>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<MeshBody>;
    type Error = MeshError;
    type Future = BoxFuture<Result<Response<MeshBody>, MeshError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        self.inner.poll_ready(cx).map_err(into_mesh_error)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The service that was made ready takes the call; the clone waits for the next one.
        let next = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, next);
        let RetryLayer { policy, budget } = self.layer.clone();
        Box::pin(async move {
            let rules = Rules::Fixed {
                policy: policy.as_ref(),
                budget: &budget,
                hedger: None,
            };
            run(ready, request.map(MeshBody::new), rules).await
        })
    }
}

// === impl RoutedRetry ===

impl<S> RoutedRetry<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S> DynService for RoutedRetry<S>
where
    S: Service<Request<MeshBody>, Response = Response<MeshBody>> + Describe,
    S: Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    fn call(&self, request: Request<MeshBody>) -> BoxFuture<Result<Response<MeshBody>, MeshError>> {
        let inner = self.inner.clone();
        Box::pin(run(inner, request, Rules::Routed))
    }

    fn describe(&self, into: &mut Vec<&'static str>) {
        into.extend(["retry", "hedge"]);
        self.inner.describe(into);
    }
}

const _: fn() = || {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    shared::<RetryService<Seam>>();
};
