//! The control server's part of the wire, as small as it can be.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::{Stream, future::BoxFuture};
use http::{Request, Response};
use mesh_core::{
    balance::EndpointInfo,
    identity::SpiffeId,
    name::ServiceName,
    policy::spec::{self, Resource},
};
use mesh_grpc::{
    engine::{
        serve::{Ads, Peer},
        server::Config,
    },
    pb::{
        control::{
            RegisterRequest, RegisterResponse, ReportAck, ReportRequest, SignRequest, SignResponse,
            identity_server::{Identity, IdentityServer},
            register_request::Message,
            registry_server::{Registry, RegistryServer},
            report_server::{Report, ReportServer},
        },
        policy as pb,
    },
    wire,
};
use mesh_tower::{
    Mesh, MeshBody,
    server::{ServerHandle, TlsChoice},
    tls::{Credentials, TrustRoots, sha256},
    transport::ConnInfo,
};
use prost::Message as _;
use rcgen::{CertificateParams, Issuer, KeyPair, PublicKeyData, SanType, SignatureAlgorithm};
use tokio_stream::StreamExt as _;
use tonic::{Request as Ask, Response as Answer, Status, Streaming};

const TRUST_DOMAIN: &str = "mesh.local";

pub struct Control {
    pub addr: SocketAddr,
    pub ads: Ads,
    pub state: Arc<Mutex<State>>,
    pub token: String,
    shared: Shared,
    mesh: Mesh,
    server: ServerHandle,
}

#[derive(Default)]
pub struct State {
    pub instances: BTreeMap<SocketAddr, ServiceName>,
    pub reports: Vec<ReportRequest>,
    pub signed: Vec<SignRequest>,
}

/// The authority, which outlives a control server.
#[derive(Clone)]
pub struct Authority(Arc<(Issuer<'static, KeyPair>, Vec<u8>, String)>);

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![
            rcgen::KeyUsagePurpose::KeyCertSign,
            rcgen::KeyUsagePurpose::CrlSign,
        ];
        let certificate = params.self_signed(&key).unwrap();
        let (der, pem) = (certificate.der().to_vec(), certificate.pem());
        Self(Arc::new((Issuer::new(params, key), der, pem)))
    }

    fn issue(&self, id: &str, key: &impl PublicKeyData) -> rcgen::Certificate {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
        params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            rcgen::ExtendedKeyUsagePurpose::ServerAuth,
            rcgen::ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.signed_by(key, &self.0.0).unwrap()
    }

    pub fn bundle(&self) -> pb::TrustBundle {
        wire::trust_bundle([(TRUST_DOMAIN.to_owned(), vec![self.0.1.clone()])])
    }

    /// Credentials of anyone.
    pub fn credentials(&self, id: &str) -> Credentials {
        let key = KeyPair::generate().unwrap();
        let chain = format!("{}{}", self.issue(id, &key).pem(), self.0.2);
        let credentials = Credentials::new();
        credentials.set_trust(TrustRoots::from_pem([(TRUST_DOMAIN, &self.0.2)]).unwrap());
        credentials
            .set_identity(mesh_tower::tls::Identity::from_pem(chain, key.serialize_pem()).unwrap());
        credentials
    }
}

/// The key of a P-256 request: its point follows the only bit string of 66 bytes.
struct RequestedKey(Vec<u8>);

impl RequestedKey {
    fn of(csr: &[u8]) -> Option<Self> {
        let start = csr
            .windows(4)
            .position(|window| window == [0x03, 0x42, 0x00, 0x04])?;
        Some(Self(csr.get(start + 3..start + 68)?.to_vec()))
    }
}

impl PublicKeyData for RequestedKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }
    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

#[derive(Clone)]
struct Shared {
    authority: Authority,
    ads: Ads,
    state: Arc<Mutex<State>>,
    token: String,
}

impl Control {
    pub async fn start(authority: &Authority, addr: Option<SocketAddr>) -> Self {
        let ads = Ads::new(
            Config {
                order: wire::PUSH_ORDER.map(String::from).to_vec(),
                ..Config::default()
            },
            |extensions| {
                let info = extensions.get::<ConnInfo>().cloned().unwrap_or_default();
                let peer = info
                    .peer
                    .ok_or_else(|| Status::unauthenticated("who are you?"))?;
                Ok(Peer {
                    identity: Some(peer.to_string()),
                    addr: info.remote,
                })
            },
        );
        let hash: String = sha256(&authority.0.1)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let token = format!("mesh1.c2VjcmV0.{hash}");
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Shared {
            authority: authority.clone(),
            ads: ads.clone(),
            state: state.clone(),
            token: token.clone(),
        };
        let bundle: Bytes = authority.bundle().encode_to_vec().into();
        ads.edit(|engine| {
            engine.set_revision("1");
            engine.update(wire::TRUST_BUNDLE, wire::TRUST_BUNDLE_NAME, Some(bundle));
        });
        let mesh = Mesh::builder("mesh/control")
            .credentials(authority.credentials("spiffe://mesh.local/ns/mesh/sa/control"))
            .build()
            .expect("mesh");
        let addr = addr.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        let services = Services {
            identity: IdentityServer::new(shared.clone()),
            registry: RegistryServer::new(shared.clone()),
            report: ReportServer::new(shared.clone()),
            ads: ads.clone(),
        };
        let server = mesh
            .server()
            .bind(&addr.to_string())
            .expect("a port")
            .tls(TlsChoice::Join)
            .announce(false)
            .serve(services)
            .expect("control server");
        Self {
            addr: server.local_addr(),
            ads,
            state,
            token,
            shared,
            mesh,
            server,
        }
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.addr)
    }

    /// Publishes a service whose instances register, with more policy.
    pub fn publish(&self, service: &str, more: impl IntoIterator<Item = Resource>) {
        let name = ServiceName::parse(service, "default").unwrap();
        let metadata = spec::Metadata {
            name: name.name().into(),
            namespace: name.namespace().into(),
            ..Default::default()
        };
        let mut resources = vec![spec::Service::new(metadata, spec::ServiceSpec::default()).into()];
        resources.extend(more);
        let policy: Bytes = wire::service_policy(&name, &resources)
            .encode_to_vec()
            .into();
        self.ads
            .edit(|engine| engine.update(wire::SERVICE_POLICY, service, Some(policy)));
        self.shared.publish_endpoints(&name);
    }

    pub fn publish_inbound(&self, service: &str, resources: &[Resource]) {
        let name = ServiceName::parse(service, "default").unwrap();
        let policy: Bytes = wire::inbound_policy(&name, resources)
            .encode_to_vec()
            .into();
        self.ads
            .edit(|engine| engine.update(wire::INBOUND_POLICY, service, Some(policy)));
    }

    pub fn instances(&self) -> Vec<SocketAddr> {
        self.state
            .lock()
            .unwrap()
            .instances
            .keys()
            .copied()
            .collect()
    }

    /// Gone at once, connections cut.
    pub fn kill(self) -> SocketAddr {
        self.addr
    }
}

impl Shared {
    fn publish_endpoints(&self, service: &ServiceName) {
        let endpoints: Vec<EndpointInfo> = {
            let state = self.state.lock().unwrap();
            let of = |(addr, _): (&SocketAddr, &ServiceName)| {
                let mut info = EndpointInfo::new(*addr);
                info.identity = Some(SpiffeId::for_service(TRUST_DOMAIN, service).unwrap());
                info
            };
            state
                .instances
                .iter()
                .filter(|(_, name)| *name == service)
                .map(of)
                .collect()
        };
        let set: Bytes = wire::endpoint_set(service, &endpoints)
            .encode_to_vec()
            .into();
        self.ads
            .edit(|engine| engine.update(wire::ENDPOINT_SET, &service.to_string(), Some(set)));
    }

    fn take(&self, request: RegisterRequest) -> RegisterResponse {
        let changed: Vec<ServiceName> = {
            let mut state = self.state.lock().unwrap();
            match request.message {
                Some(Message::Register(instance)) => {
                    let service = ServiceName::parse(&instance.service, "default").unwrap();
                    state
                        .instances
                        .insert(instance.addr.parse().unwrap(), service.clone());
                    vec![service]
                }
                Some(Message::Deregister(which)) => {
                    let gone: Vec<_> = state
                        .instances
                        .iter()
                        .filter(|(addr, _)| which.addr.is_empty() || which.addr == addr.to_string())
                        .map(|(addr, service)| (*addr, service.clone()))
                        .collect();
                    gone.into_iter()
                        .filter_map(|(addr, _)| state.instances.remove(&addr))
                        .collect()
                }
                _ => Vec::new(),
            }
        };
        for service in changed {
            self.publish_endpoints(&service);
        }
        RegisterResponse {
            lease_seconds: 15,
            entries: self.state.lock().unwrap().instances.len() as u32,
            place: None,
        }
    }
}

#[tonic::async_trait]
impl Identity for Shared {
    async fn sign(&self, request: Ask<SignRequest>) -> Result<Answer<SignResponse>, Status> {
        let ask = request.into_inner();
        if ask.token != self.token {
            return Err(Status::unauthenticated(
                "join token refused: not this one [M4005]",
            ));
        }
        let key = RequestedKey::of(&ask.csr_der)
            .ok_or_else(|| Status::invalid_argument("no P-256 key"))?;
        let service = ServiceName::parse(&ask.service, "default").unwrap();
        let id = SpiffeId::for_service(TRUST_DOMAIN, &service).unwrap();
        let certificate = self.authority.issue(id.as_str(), &key);
        self.state.lock().unwrap().signed.push(ask);
        Ok(Answer::new(SignResponse {
            chain_der: vec![certificate.der().to_vec()],
            trust: Some(self.authority.bundle()),
            not_after_unix: i64::MAX,
        }))
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Registry for Shared {
    type RegisterStream = Answers<RegisterResponse>;

    async fn register(
        &self,
        request: Ask<Streaming<RegisterRequest>>,
    ) -> Result<Answer<Self::RegisterStream>, Status> {
        let shared = self.clone();
        let answers = request
            .into_inner()
            .map(move |request| request.map(|request| shared.take(request)));
        Ok(Answer::new(Box::pin(answers)))
    }
}

#[tonic::async_trait]
impl Report for Shared {
    type PushStream = Answers<ReportAck>;

    async fn push(
        &self,
        request: Ask<Streaming<ReportRequest>>,
    ) -> Result<Answer<Self::PushStream>, Status> {
        let shared = self.clone();
        let acks = request.into_inner().map(move |report| {
            report.map(|report| {
                let sequence = report.sequence;
                shared.state.lock().unwrap().reports.push(report);
                ReportAck { sequence }
            })
        });
        Ok(Answer::new(Box::pin(acks)))
    }
}

/// All services on one port, by the path's first segment.
#[derive(Clone)]
struct Services {
    identity: IdentityServer<Shared>,
    registry: RegistryServer<Shared>,
    report: ReportServer<Shared>,
    ads: Ads,
}

impl tower_service::Service<Request<MeshBody>> for Services {
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<MeshBody>) -> Self::Future {
        let path = request.uri().path();
        if path.starts_with("/mesh.control.v1.Identity/") {
            self.identity.call(request)
        } else if path.starts_with("/mesh.control.v1.Registry/") {
            self.registry.call(request)
        } else if path.starts_with("/mesh.control.v1.Report/") {
            self.report.call(request)
        } else {
            self.ads.service().call(request)
        }
    }
}
