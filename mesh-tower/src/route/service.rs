use std::any::Any;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use mesh_core::error::{ErrorKind, MeshError};
use mesh_core::live::Live;
use mesh_core::name::ServiceName;
use mesh_core::route::RouteTable;
use tower_layer::Layer;
use tower_service::Service;

use super::RouteFuture;
use super::apply::{self, Applied, Forward, no_route};
use super::target::{self, MeshSource, Source, Target};
use crate::BoxError;
use crate::body::MeshBody;
use crate::context::CallContext;
use crate::fault;
use crate::live_view::{Found, LiveView, ServiceView};
use crate::mesh::Inner;
use crate::mirror::{self, Duplicate};
use crate::runtime;
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

/// What a clone knows at once.
enum Lookup {
    Here(Arc<ServiceView>, Option<u16>),
    /// Not yet: wait for this service.
    Wait(ServiceName, Option<u16>),
    Fail(MeshError),
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
            Err(error) => RouteFuture::done(Err(error)),
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
        let service = found?;
        match apply::routed(&mut source, &service, port, &call, &mut request)? {
            Applied::Answer(response) => Ok(response),
            Applied::Forward(forward) => send(inner, call, request, forward).await,
        }
    })
}

// === impl MeshSource ===

impl MeshSource {
    fn look_up<B>(&mut self, request: &mut Request<B>) -> Lookup {
        let view = self.live.get();
        match &self.target {
            Target::Bad(error) => Lookup::Fail(error.clone()),
            Target::Service(target, host) => {
                if request.uri().authority().is_none()
                    && !request.headers().contains_key(http::header::HOST)
                {
                    request
                        .headers_mut()
                        .insert(http::header::HOST, host.clone());
                }
                if let Some((version, service)) = &self.cached
                    && *version == view.version()
                {
                    return Lookup::Here(service.clone(), target.port);
                }
                match view.find(&target.service) {
                    Found::Here(service) => {
                        self.cached = Some((view.version(), service.clone()));
                        Lookup::Here(service.clone(), target.port)
                    }
                    Found::Never if is_current(&self.mesh, view) => {
                        let error = no_route("nobody knows this service");
                        Lookup::Fail(error.with_service(&target.service))
                    }
                    // The view is about to be replaced, or a feed will deliver it.
                    Found::Never | Found::NotYet => {
                        Lookup::Wait(target.service.clone(), target.port)
                    }
                }
            }
            Target::Authority => {
                let Some((host, port)) = target::authority(request.uri(), request.headers()) else {
                    return Lookup::Fail(no_route("the request names no host"));
                };
                let known = view.snapshot().outbound().resolve_host(host, port);
                let name = match known {
                    Some(service) => service.name().clone(),
                    None => match target::service_of(host) {
                        Some(name) if view.is_fed() => name,
                        _ => return Lookup::Fail(no_route(format!("{host} is not in the mesh"))),
                    },
                };
                match view.find(&name) {
                    Found::Here(service) => Lookup::Here(service.clone(), port),
                    Found::Never => Lookup::Fail(no_route(format!("{host} is not in the mesh"))),
                    Found::NotYet => {
                        self.mesh.shared.ask(&name);
                        Lookup::Wait(name, port)
                    }
                }
            }
        }
    }

    /// Waits until the service is there, within the call's deadline and the longest wait.
    async fn wait_for(
        &mut self,
        name: &ServiceName,
        call: &CallContext,
    ) -> Result<Arc<ServiceView>, MeshError> {
        let began = call.now();
        let wait = call
            .remaining(began)
            .map_or(self.settings.wait, |left| left.min(self.settings.wait));
        self.wait_within(name, began, wait).await
    }

    /// The service of a fixed target, for what is no request; waits for a first policy.
    pub(crate) async fn service(&mut self) -> Result<(Arc<ServiceView>, Option<u16>), MeshError> {
        let target = match &self.target {
            Target::Bad(error) => return Err(error.clone()),
            Target::Authority => return Err(no_route("bytes name no service")),
            Target::Service(target, _) => target.clone(),
        };
        if let Some(found) = self.service_now() {
            return Ok(found);
        }
        let (began, wait) = (runtime::now(), self.settings.wait);
        let service = self.wait_within(&target.service, began, wait).await?;
        Ok((service, target.port))
    }

    /// A service that only a control server may know, asked for by its name.
    pub(super) async fn service_named(
        &mut self,
        name: &ServiceName,
    ) -> Result<Arc<ServiceView>, MeshError> {
        self.mesh.shared.ask(name);
        let (began, wait) = (runtime::now(), self.settings.wait);
        self.wait_within(name, began, wait).await
    }

    /// The same, if it is there.
    pub(crate) fn service_now(&mut self) -> Option<(Arc<ServiceView>, Option<u16>)> {
        let Target::Service(target, _) = &self.target else {
            return None;
        };
        match self.live.get().find(&target.service) {
            Found::Here(service) => Some((service.clone(), target.port)),
            Found::Never | Found::NotYet => None,
        }
    }

    async fn wait_within(
        &mut self,
        name: &ServiceName,
        began: Instant,
        wait: Duration,
    ) -> Result<Arc<ServiceView>, MeshError> {
        let mesh = self.mesh.clone();
        let found = tokio::time::timeout(wait, async {
            let live: &mut Live<LiveView> = &mut self.live;
            loop {
                let view = live.get().clone();
                match view.find(name) {
                    Found::Here(service) => {
                        return Ok(service.clone());
                    }
                    Found::Never if is_current(&mesh, &view) => {
                        return Err(no_route("nobody knows this service").with_service(name));
                    }
                    Found::Never | Found::NotYet => {}
                }
                if live.changed().await.is_err() {
                    let error = MeshError::new(ErrorKind::Draining, "the mesh was shut down");
                    return Err(error.with_service(name));
                }
            }
        })
        .await;
        match found {
            Ok(found) => found,
            Err(_) => {
                let waited = runtime::now().saturating_duration_since(began);
                let control = match self.mesh.shared.is_connected() {
                    true => "the control server is connected but has not sent it",
                    false => "the control server is not connected",
                };
                let message = format!("no policy for it within {waited:.1?}: {control}");
                Err(MeshError::new(ErrorKind::NoEndpoints, message).with_service(name))
            }
        }
    }
}

/// Whether the view has all that the mesh knows: only then is a "no" of it final.
fn is_current(mesh: &Inner, view: &LiveView) -> bool {
    let fed = mesh.settings.expect_feed || mesh.shared.is_fed();
    view.is_fed() == fed && view.policy_version() == mesh.store.current().version()
}
