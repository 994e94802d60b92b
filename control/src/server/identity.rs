//! `mesh.control.v1.Identity`: by join token, or by the identity that is renewed.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use mesh_core::name::ServiceName;
use mesh_grpc::pb::control as pb;
use mesh_grpc::pb::control::identity_server::Identity;
use tonic::{Request, Response, Status};

use super::caller::Caller;
use super::pace::{Asker, Pace, TooOften};
use super::state::Shared;
use crate::events;

/// The service over the shared state.
#[derive(Clone, Debug)]
pub(super) struct IdentityService {
    shared: Arc<Shared>,
    pace: Arc<Pace>,
}

impl IdentityService {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let pace = Arc::new(Pace::new(Instant::now()));
        Self { shared, pace }
    }

    /// Refuses who asks too often, before anything of the request is looked at.
    fn admit(&self, caller: &Caller) -> Result<(), Status> {
        // Every connection of the port has an address; without one there is only one bucket.
        let peer = caller.addr.map_or(Ipv4Addr::UNSPECIFIED.into(), |a| a.ip());
        let asker = match caller.identity {
            Some(_) => Asker::Member,
            None => Asker::Joiner,
        };
        let taken = self.pace.take(asker, peer, Instant::now());
        taken.map_err(|TooOften { wait, all }| {
            let who = match all {
                true => "all peers together ask".to_owned(),
                false => format!("{peer} asks"),
            };
            let text = format!("{who} for certificates too often");
            self.shared.refusal(&peer.to_string(), &text, "M4006");
            let wait = wait.as_millis().max(1);
            Status::resource_exhausted(format!(
                "the CSR was not looked at: {text}, try again in {wait} ms [M4006]"
            ))
        })
    }
}

#[tonic::async_trait]
impl Identity for IdentityService {
    async fn sign(
        &self,
        request: Request<pb::SignRequest>,
    ) -> Result<Response<pb::SignResponse>, Status> {
        let caller = Caller::of(request.extensions());
        self.admit(&caller)?;
        let from = caller.addr.map(|addr| addr.to_string()).unwrap_or_default();
        let ask = request.into_inner();
        let service: ServiceName = ask
            .service
            .parse()
            .map_err(|error| Status::invalid_argument(format!("{error} [M4006]")))?;
        let renewal = ask.token.is_empty();
        if renewal {
            caller.member()?.only(&ask.service)?;
        } else if !self.shared.token.matches(&ask.token) {
            self.shared
                .refusal(&from, &format!("join token refused for {service}"), "M4005");
            return Err(Status::unauthenticated(
                "join token refused: it is not the one in this control server's join-token file [M4005]",
            ));
        }
        if service.namespace() == super::own::NAMESPACE {
            self.shared.refusal(
                &from,
                &format!("CSR for {service} refused: reserved"),
                "M4006",
            );
            return Err(Status::invalid_argument(format!(
                "the CSR was refused: namespace {} is the control server's own [M4006]",
                service.namespace()
            )));
        }
        let ca = &self.shared.ca;
        let id = ca.spiffe_id(service.namespace(), service.name());
        let leaf = ca
            .sign(&ask.csr_der, &id, SystemTime::now())
            .map_err(|error| {
                self.shared.refusal(
                    &from,
                    &format!("CSR for {service} refused: it {error}"),
                    "M4006",
                );
                Status::invalid_argument(format!("the CSR was refused: it {error} [M4006]"))
            })?;
        if !renewal {
            self.shared.event(
                "identity",
                service.to_string(),
                format!("{id} joined from {from}"),
                "",
            );
        }
        self.shared.ensure_known(&service);
        Ok(Response::new(pb::SignResponse {
            chain_der: leaf.chain_der,
            trust: Some(self.shared.trust_bundle()),
            not_after_unix: events::unix_seconds(leaf.not_after),
        }))
    }
}
