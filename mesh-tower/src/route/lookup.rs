//! The service that a call goes to, found in the view, or waited for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Request;
use mesh_core::error::{ErrorKind, MeshError};
use mesh_core::live::Live;
use mesh_core::name::ServiceName;

use super::apply::no_route;
use super::target::{self, MeshSource, Target};
use crate::context::CallContext;
use crate::live_view::{Found, LiveView, ServiceView};
use crate::mesh::Inner;
use crate::runtime;

/// What a clone knows at once.
pub(super) enum Lookup {
    Here(Arc<ServiceView>, Option<u16>),
    /// Not yet: wait for this service.
    Wait(ServiceName, Option<u16>),
    Fail(MeshError),
}

impl MeshSource {
    pub(super) fn look_up<B>(&mut self, request: &mut Request<B>) -> Lookup {
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
    pub(super) async fn wait_for(
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
