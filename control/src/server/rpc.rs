//! Which service answers a request, by the first part of its path.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use mesh_grpc::engine::serve::Ads;
use mesh_grpc::pb::control::admin_server::AdminServer;
use mesh_grpc::pb::control::identity_server::IdentityServer;
use mesh_grpc::pb::control::registry_server::RegistryServer;
use mesh_grpc::pb::control::report_server::ReportServer;
use tonic::body::Body;
use tonic::{Status, codegen::StdError};
use tower_service::Service;

use super::admin::AdminService;
use super::identity::IdentityService;
use super::registry::RegistryService;
use super::report::ReportService;
use super::state::Shared;
use crate::report::MAX_REPORT_BYTES;

/// A policy of 4 MiB with room for the names of its files.
const MAX_APPLY_BYTES: usize = 8 << 20;
/// A first subscription names everything that a restarted client holds.
const MAX_SUBSCRIPTION_BYTES: usize = 8 << 20;
/// A CSR, a token, a registration.
const MAX_SMALL_BYTES: usize = 64 << 10;

/// What workloads ask over mutual TLS.
#[derive(Clone, Debug)]
pub(super) struct Members {
    ads: Ads,
    identity: IdentityService,
    registry: RegistryService,
    report: ReportService,
}

impl Members {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            ads: shared.ads.clone(),
            identity: IdentityService::new(shared.clone()),
            registry: RegistryService::new(shared.clone()),
            report: ReportService(shared.clone()),
        }
    }

    pub(super) async fn call<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<StdError> + Send + 'static,
    {
        match service_of(&request) {
            "envoy.service.discovery.v3.AggregatedDiscoveryService" => {
                let service = self
                    .ads
                    .service()
                    .max_decoding_message_size(MAX_SUBSCRIPTION_BYTES);
                answer(service, request).await
            }
            "mesh.control.v1.Identity" => {
                let service = IdentityServer::new(self.identity.clone());
                answer(service.max_decoding_message_size(MAX_SMALL_BYTES), request).await
            }
            "mesh.control.v1.Registry" => {
                let service = RegistryServer::new(self.registry.clone());
                answer(service.max_decoding_message_size(MAX_SMALL_BYTES), request).await
            }
            "mesh.control.v1.Report" => {
                let service = ReportServer::new(self.report.clone());
                answer(service.max_decoding_message_size(MAX_REPORT_BYTES), request).await
            }
            "mesh.control.v1.Admin" => {
                let text = "administration is on the admin socket of the control server";
                Status::permission_denied(text).into_http()
            }
            other => Status::unimplemented(format!("no service {other:?}")).into_http(),
        }
    }
}

/// What `meshctl` asks over the admin socket.
pub(super) async fn admin<B>(shared: Arc<Shared>, request: Request<B>) -> Response<Body>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    match service_of(&request) {
        "mesh.control.v1.Admin" => {
            let service = AdminServer::new(AdminService(shared));
            answer(service.max_decoding_message_size(MAX_APPLY_BYTES), request).await
        }
        other => Status::unimplemented(format!("no service {other:?} here")).into_http(),
    }
}

fn service_of<B>(request: &Request<B>) -> &str {
    let path = request.uri().path();
    path.strip_prefix('/')
        .and_then(|path| path.split_once('/'))
        .map_or(path, |(service, _)| service)
}

async fn answer<S, B>(mut service: S, request: Request<B>) -> Response<Body>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
{
    match service.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
