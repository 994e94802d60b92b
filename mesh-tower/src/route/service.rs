use std::any::Any;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use mesh_core::error::MeshError;
use mesh_core::name::ServiceName;
use mesh_core::route::RouteTable;
use tower_layer::Layer;
use tower_service::Service;

use super::RouteFuture;
use super::apply::{self, Applied, Forward};
use super::lookup::Lookup;
use super::target::{MeshSource, Source};
use crate::BoxError;
use crate::body::MeshBody;
use crate::context::CallContext;
use crate::fault;
use crate::mirror::{self, Duplicate};
use crate::stack::{BoxFuture, Describe, into_mesh_error};

/// Matches each call against routes and applies what the matching one says.
#[derive(Clone)]
pub struct RouteLayer {
    source: Source,
}

/// The service of [`RouteLayer`].
#[derive(Clone)]
pub struct RouteService<S> {
    inner: S,
    source: Source,
}

// === impl RouteLayer ===

impl RouteLayer {
    /// Routes by a fixed table: matching, filters and the time limit of a call. The backend is
    /// whatever is below this layer.
    pub fn new(table: Arc<RouteTable>) -> Self {
        Self {
            source: Source::Fixed(table),
        }
    }

    pub(crate) fn of_mesh(source: Source) -> Self {
        Self { source }
    }
}

impl<S> Layer<S> for RouteLayer {
    type Service = RouteService<S>;

    fn layer(&self, inner: S) -> RouteService<S> {
        RouteService {
            inner,
            source: self.source.clone(),
        }
    }
}

impl std::fmt::Debug for RouteLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RouteLayer").finish_non_exhaustive()
    }
}

// === impl RouteService ===

impl<S: Describe> Describe for RouteService<S> {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("route");
        self.inner.describe(into);
    }
}

impl<S> std::fmt::Debug for RouteService<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RouteService").finish_non_exhaustive()
    }
}

impl<S, B, R> Service<Request<B>> for RouteService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<MeshBody>;
    type Error = MeshError;
    type Future = RouteFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        self.inner.poll_ready(cx).map_err(into_mesh_error)
    }

    #[inline(always)]
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let call = CallContext::of(&mut request);
        let applied = match &mut self.source {
            Source::Fixed(table) => apply::fixed(table, &call, &mut request),
            Source::Mesh(source) => match source.look_up(&mut request) {
                Lookup::Fail(error) => Err(error),
                Lookup::Here(service, port) => {
                    apply::routed(source, &service, port, &call, &mut request)
                }
                Lookup::Wait(name, port) => {
                    // The rare way: a first policy is waited for, in a future of its own.
                    let next = self.inner.clone();
                    let inner = std::mem::replace(&mut self.inner, next);
                    let source = source.clone();
                    return RouteFuture::waiting(wait_and_call(
                        inner, source, name, port, call, request,
                    ));
                }
            },
        };
        match applied {
            Err(error) => {
                self.source.failed(&error, &request);
                RouteFuture::done(Err(error))
            }
            Ok(Applied::Answer(response)) => RouteFuture::done(Ok(response)),
            Ok(Applied::Forward(Forward { after, before })) => match before {
                None => RouteFuture::forward(self.inner.call(request), after),
                Some(before) => match before.fault.is_some() {
                    false => {
                        mirror(before.copies, &mut request);
                        RouteFuture::forward(self.inner.call(request), after)
                    }
                    true => {
                        let next = self.inner.clone();
                        let inner = std::mem::replace(&mut self.inner, next);
                        RouteFuture::waiting(Box::pin(send(
                            inner,
                            call,
                            request,
                            Forward {
                                after,
                                before: Some(before),
                            },
                        )))
                    }
                },
            },
        }
    }
}

/// Lets the copies of a call see its body; only calls of the assembled client have any.
fn mirror<B: 'static>(copies: Vec<Duplicate>, request: &mut Request<B>) {
    let body: &mut dyn Any = request.body_mut();
    if let Some(body) = body.downcast_mut::<MeshBody>() {
        mirror::attach(copies, body);
    }
}

/// Sends a call with all that its route wants done before and behind it.
async fn send<S, B, R>(
    mut inner: S,
    call: CallContext,
    mut request: Request<B>,
    forward: Forward,
) -> Result<Response<MeshBody>, MeshError>
where
    S: Service<Request<B>, Response = Response<R>> + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    if let Some(before) = forward.before {
        if let Some(injection) = before.fault {
            fault::wait(&injection, &call).await;
            let fault = call
                .chosen()
                .and_then(|chosen| chosen.route.as_ref()?.fault());
            if let (Some(fault), Some(status)) = (fault, injection.abort()) {
                return Ok(fault::answer(fault, status, call.is_grpc()));
            }
        }
        mirror(before.copies, &mut request);
    }
    let response = inner.call(request).await.map_err(into_mesh_error)?;
    let mut response = response.map(MeshBody::new);
    if let Some(after) = forward.after {
        after.apply(&mut response);
    }
    Ok(response)
}

fn wait_and_call<S, B, R>(
    inner: S,
    mut source: Box<MeshSource>,
    name: ServiceName,
    port: Option<u16>,
    call: CallContext,
    mut request: Request<B>,
) -> BoxFuture<Result<Response<MeshBody>, MeshError>>
where
    S: Service<Request<B>, Response = Response<R>> + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    Box::pin(async move {
        let found = source.wait_for(&name, &call).await;
        call.tick();
        let applied = found
            .and_then(|service| apply::routed(&mut source, &service, port, &call, &mut request));
        match applied {
            Err(error) => {
                source.failed(&error, &request);
                Err(error)
            }
            Ok(Applied::Answer(response)) => Ok(response),
            Ok(Applied::Forward(forward)) => send(inner, call, request, forward).await,
        }
    })
}
