use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Request, Uri, header};
use mesh_core::error::{ErrorKind, MeshError};
use mesh_core::live::Live;
use mesh_core::name::{ServiceName, ServiceTarget};
use mesh_core::route::RouteTable;

use super::Entry;
use crate::live_view::{LiveView, ServiceView, Settings};
use crate::mesh::Inner;

/// Which service the calls of a client go to.
#[derive(Clone)]
pub(crate) enum Target {
    /// One service, by name, with the `host` header of requests that have none.
    Service(Arc<ServiceTarget>, HeaderValue),
    /// Whatever the request's authority names.
    Authority,
    /// A name that is none: every call fails with this.
    Bad(MeshError),
}

/// Where a route layer has its routes from.
#[derive(Clone)]
pub(crate) enum Source {
    Fixed(Arc<RouteTable>),
    Mesh(Box<MeshSource>),
}

/// The routes of a mesh's policy, with what this clone last looked up.
#[derive(Clone)]
pub(crate) struct MeshSource {
    pub(super) target: Target,
    pub(super) live: Live<LiveView>,
    pub(crate) settings: Settings,
    /// The service of a fixed target in the view of that version.
    pub(super) cached: Option<(u64, Arc<ServiceView>)>,
    /// Set for requests from outside, whose service is the one that they arrived at.
    pub(super) entry: Option<Entry>,
    /// The client keeps its mesh running.
    pub(crate) mesh: Arc<Inner>,
}

// === impl Source ===

impl Source {
    pub(crate) fn of_mesh(mesh: &Arc<Inner>, target: Target) -> Self {
        Self::Mesh(Box::new(MeshSource::new(mesh, target)))
    }

    /// A request goes nowhere.
    pub(super) fn failed<B>(&self, error: &MeshError, request: &Request<B>) {
        if let Self::Mesh(source) = self {
            source.failed(error, request);
        }
    }
}

// === impl MeshSource ===

impl MeshSource {
    pub(crate) fn new(mesh: &Arc<Inner>, target: Target) -> Self {
        if let Target::Service(target, _) = &target {
            mesh.shared.ask(&target.service);
        }
        Self {
            target,
            live: mesh.views.live(),
            settings: mesh.settings.clone(),
            cached: None,
            entry: None,
            mesh: mesh.clone(),
        }
    }

    /// Of what arrives from outside for the service of this process.
    pub(crate) fn entering(mesh: &Arc<Inner>, entry: Entry) -> Self {
        let target = Target::parse(&mesh.service.to_string(), &mesh.namespace);
        Self {
            entry: Some(entry),
            ..Self::new(mesh, target)
        }
    }

    pub(super) fn failed<B>(&self, error: &MeshError, request: &Request<B>) {
        if let Some(entry) = &self.entry {
            entry.failed(error, request);
        }
    }
}

// === impl Target ===

impl Target {
    pub(crate) fn parse(text: &str, namespace: &str) -> Self {
        match ServiceTarget::parse(text, namespace) {
            Ok(target) => {
                let host = match target.port {
                    Some(port) => format!("{}:{port}", target.service.host()),
                    None => target.service.host(),
                };
                let host = HeaderValue::from_str(&host)
                    .unwrap_or_else(|_| HeaderValue::from_static("mesh"));
                Self::Service(Arc::new(target), host)
            }
            Err(error) => Self::Bad(MeshError::new(
                ErrorKind::NoRoute,
                format!("{text:?} is not the name of a service: {error}"),
            )),
        }
    }
}

/// A host, and the port if one is given.
type Host<'a> = (&'a str, Option<u16>);

/// Host and port that a request is for.
pub(super) fn authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<Host<'a>> {
    let text = match uri.authority() {
        Some(authority) => authority.as_str(),
        None => headers.get(header::HOST)?.to_str().ok()?,
    };
    let text = text.rsplit_once('@').map_or(text, |(_, host)| host);
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !port.contains(']') => {
            Some((host, port.parse().ok()))
        }
        _ => Some((text, None)),
    }
}

/// The service that a host names although no policy does: `reviews.shop` and its longer forms.
pub(crate) fn service_of(host: &str) -> Option<ServiceName> {
    if !host.contains('.') || host.parse::<std::net::IpAddr>().is_ok() {
        return None;
    }
    ServiceName::parse(host, "default").ok()
}
