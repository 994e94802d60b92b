//! A member of the mesh by hand: joining, and a subscription whose answers the test decides.

use std::net::SocketAddr;

use mesh_control::server::Running;
use mesh_grpc::Channel;
use mesh_grpc::pb::control as pb;
use mesh_grpc::pb::control::identity_client::IdentityClient;
use mesh_grpc::pb::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use mesh_grpc::pb::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node};
use mesh_grpc::pb::policy::EndpointSet;
use mesh_tower::tls::{Credentials, Identity, TrustRoots};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Status, Streaming};

use super::PATIENCE;

fn unhex(text: &str) -> [u8; 32] {
    let byte = |ix: usize| u8::from_str_radix(&text[2 * ix..2 * ix + 2], 16).unwrap();
    std::array::from_fn(byte)
}

pub fn pinned(grpc: SocketAddr, token: &str) -> Channel {
    let hash = unhex(token.trim().rsplit('.').next().unwrap());
    Channel::pinned(format!("https://{grpc}").parse().unwrap(), hash)
}

pub fn csr(key: &rcgen::KeyPair) -> Vec<u8> {
    rcgen::CertificateParams::default()
        .serialize_request(key)
        .unwrap()
        .der()
        .to_vec()
}

pub async fn sign(
    channel: Channel,
    token: &str,
    csr_der: Vec<u8>,
    service: &str,
) -> Result<pb::SignResponse, Status> {
    let request = pb::SignRequest {
        token: token.to_owned(),
        csr_der,
        service: service.to_owned(),
    };
    IdentityClient::new(channel)
        .sign(request)
        .await
        .map(tonic::Response::into_inner)
}

/// Joins by token; a channel that proves the identity, and the credentials under it.
pub async fn join(grpc: SocketAddr, token: &str, service: &str) -> (Channel, Credentials) {
    let token = token.trim();
    let key = rcgen::KeyPair::generate().unwrap();
    let signed = sign(pinned(grpc, token), token, csr(&key), service)
        .await
        .unwrap();
    let credentials = Credentials::new();
    let domains = signed.trust.unwrap().domains.into_iter();
    let roots = TrustRoots::from_der(domains.map(|domain| (domain.name, domain.roots_der)));
    credentials.set_trust(roots.unwrap());
    credentials.set_identity(Identity::from_der(signed.chain_der, key.serialize_der()).unwrap());
    (
        Channel::new(format!("https://{grpc}").parse().unwrap(), &credentials),
        credentials,
    )
}

/// An open subscription to one name of one type.
pub struct Subscription {
    say: mpsc::UnboundedSender<DeltaDiscoveryRequest>,
    pub responses: Streaming<DeltaDiscoveryResponse>,
    type_url: &'static str,
}

impl Subscription {
    pub async fn open(channel: &Channel, type_url: &'static str, name: &str) -> Self {
        let (say, requests) = mpsc::unbounded_channel();
        let first = DeltaDiscoveryRequest {
            node: Some(Node {
                id: "web-1".to_owned(),
                ..Default::default()
            }),
            type_url: type_url.to_owned(),
            resource_names_subscribe: vec![name.to_owned()],
            ..Default::default()
        };
        say.send(first).unwrap();
        let requests = UnboundedReceiverStream::new(requests);
        let mut client = AggregatedDiscoveryServiceClient::new(channel.clone());
        let responses = client
            .delta_aggregated_resources(requests)
            .await
            .unwrap()
            .into_inner();
        Self {
            say,
            responses,
            type_url,
        }
    }

    /// The next response, confirmed.
    pub async fn next(&mut self) -> DeltaDiscoveryResponse {
        let next = tokio::time::timeout(PATIENCE, self.responses.message()).await;
        let response = next.expect("in time").unwrap().expect("a response");
        self.answer(&response, None);
        response
    }

    pub fn answer(&self, response: &DeltaDiscoveryResponse, refusal: Option<&str>) {
        let error_detail = refusal.map(|message| mesh_grpc::pb::discovery::Status {
            code: 3,
            message: message.to_owned(),
            ..Default::default()
        });
        let answer = DeltaDiscoveryRequest {
            type_url: self.type_url.to_owned(),
            response_nonce: response.nonce.clone(),
            error_detail,
            ..Default::default()
        };
        self.say.send(answer).unwrap();
    }

    /// The addresses of the next endpoint set.
    pub async fn endpoints(&mut self) -> Vec<String> {
        let response = self.next().await;
        let [resource] = response.resources.as_slice() else {
            panic!("{response:?}")
        };
        let value = &resource.resource.as_ref().unwrap().value;
        let set = EndpointSet::decode(value.as_slice()).unwrap();
        set.endpoints
            .into_iter()
            .map(|endpoint| endpoint.addr)
            .collect()
    }
}

pub async fn joined(server: &Running, service: &str) -> Channel {
    join(server.grpc_addr, server.join_token(), service).await.0
}
