//! `mesh.control.v1.Identity`: by join token, or by the identity that is renewed.

use std::sync::Arc;
use std::time::SystemTime;

use mesh_core::name::ServiceName;
use mesh_grpc::pb::control as pb;
use mesh_grpc::pb::control::identity_server::Identity;
use tonic::{Request, Response, Status};

use super::caller::Caller;
use super::state::Shared;
use crate::events;

/// The service over the shared state.
#[derive(Clone, Debug)]
pub(super) struct IdentityService(pub(super) Arc<Shared>);

#[tonic::async_trait]
impl Identity for IdentityService {
    async fn sign(
        &self,
        request: Request<pb::SignRequest>,
    ) -> Result<Response<pb::SignResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let from = caller.addr.map(|addr| addr.to_string()).unwrap_or_default();
        let ask = request.into_inner();
        let service: ServiceName = ask
            .service
            .parse()
            .map_err(|error| Status::invalid_argument(format!("{error} [M4006]")))?;
        let renewal = ask.token.is_empty();
        if renewal {
            caller.member()?.only(&ask.service)?;
        } else if !self.0.token.matches(&ask.token) {
            self.0
                .refusal(&from, &format!("join token refused for {service}"), "M4005");
            return Err(Status::unauthenticated(
                "join token refused: it is not the one in this control server's join-token file [M4005]",
            ));
        }
        if service.namespace() == super::own::NAMESPACE {
            self.0.refusal(
                &from,
                &format!("CSR for {service} refused: reserved"),
                "M4006",
            );
            return Err(Status::invalid_argument(format!(
                "the CSR was refused: namespace {} is the control server's own [M4006]",
                service.namespace()
            )));
        }
        let ca = &self.0.ca;
        let id = ca.spiffe_id(service.namespace(), service.name());
        let leaf = ca
            .sign(&ask.csr_der, &id, SystemTime::now())
            .map_err(|error| {
                self.0.refusal(
                    &from,
                    &format!("CSR for {service} refused: it {error}"),
                    "M4006",
                );
                Status::invalid_argument(format!("the CSR was refused: it {error} [M4006]"))
            })?;
        if !renewal {
            self.0.event(
                "identity",
                service.to_string(),
                format!("{id} joined from {from}"),
                "",
            );
        }
        self.0.ensure_known(&service);
        Ok(Response::new(pb::SignResponse {
            chain_der: leaf.chain_der,
            trust: Some(self.0.trust_bundle()),
            not_after_unix: events::unix_seconds(leaf.not_after),
        }))
    }
}
