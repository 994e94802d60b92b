//! `mesh.control.v1.Registry`: one stream per process; what it says becomes leases.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::Stream;
use mesh_core::name::ServiceName;
use mesh_grpc::pb::control as pb;
use mesh_grpc::pb::control::register_request::Message;
use mesh_grpc::pb::control::registry_server::Registry;
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use super::caller::{Caller, Member};
use super::state::Shared;
use crate::registry::{Holder, Instance, LEASE, Place};

/// Registration streams at a time.
const MAX_STREAMS: usize = 10_000;
/// Joins and leaves of a rolling restart are told together.
const TELL_AFTER: Duration = Duration::from_millis(100);

/// The service over the shared state.
#[derive(Clone, Debug)]
pub(super) struct RegistryService {
    shared: Arc<Shared>,
    next: Arc<AtomicU64>,
    streams: Arc<AtomicUsize>,
}

/// One open stream; its end, however it comes, leaves the leases to run out.
struct Registration {
    shared: Arc<Shared>,
    holder: Holder,
    member: Member,
    requests: Streaming<pb::RegisterRequest>,
    membership: watch::Receiver<u64>,
    /// What was said last.
    place: Option<Place>,
    streams: Arc<AtomicUsize>,
    ended: bool,
}

impl RegistryService {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            next: Arc::default(),
            streams: Arc::default(),
        }
    }
}

#[tonic::async_trait]
impl Registry for RegistryService {
    type RegisterStream =
        Pin<Box<dyn Stream<Item = Result<pb::RegisterResponse, Status>> + Send + 'static>>;

    async fn register(
        &self,
        request: Request<Streaming<pb::RegisterRequest>>,
    ) -> Result<Response<Self::RegisterStream>, Status> {
        let member = Caller::of(request.extensions()).member()?;
        let open = self.streams.fetch_add(1, Ordering::Relaxed);
        let registration = Registration {
            shared: self.shared.clone(),
            holder: Holder(self.next.fetch_add(1, Ordering::Relaxed)),
            member,
            requests: request.into_inner(),
            membership: self.shared.membership.subscribe(),
            place: None,
            streams: self.streams.clone(),
            ended: false,
        };
        if open >= MAX_STREAMS {
            return Err(Status::resource_exhausted("too many registration streams"));
        }
        // No task of its own: a peer that does not read its answers is not read from either.
        let answers = futures_util::stream::unfold(registration, |mut registration| async move {
            let answer = registration.next().await?;
            Some((answer, registration))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

impl Registration {
    async fn next(&mut self) -> Option<Result<pb::RegisterResponse, Status>> {
        if self.ended {
            return None;
        }
        loop {
            let message = tokio::select! {
                biased;
                message = self.requests.message() => Some(message.ok().flatten()?),
                () = moved(&mut self.membership) => None,
            };
            if message.is_none() && self.shared.place(self.holder) == self.place {
                continue;
            }
            let answer = message.map_or(Ok(()), |message| self.take(message));
            self.ended = answer.is_err();
            return Some(answer.map(|()| self.answer()));
        }
    }

    fn take(&self, request: pb::RegisterRequest) -> Result<(), Status> {
        match request.message {
            Some(Message::Register(instance)) => {
                let instance = self.instance(instance)?;
                self.shared
                    .register(self.holder, instance)
                    .map_err(|error| Status::invalid_argument(error.to_string()))?;
            }
            Some(Message::Heartbeat(_)) => self.shared.heartbeat(self.holder),
            Some(Message::Deregister(which)) => {
                let service = (!which.service.is_empty()).then(|| name(&which.service));
                let addr = (!which.addr.is_empty()).then(|| address(&which.addr));
                self.shared
                    .deregister(self.holder, service.transpose()?, addr.transpose()?);
            }
            None => return Err(Status::invalid_argument("an empty message")),
        }
        Ok(())
    }

    fn answer(&mut self) -> pb::RegisterResponse {
        self.place = self.shared.place(self.holder);
        pb::RegisterResponse {
            lease_seconds: u32::try_from(LEASE.as_secs()).unwrap_or(u32::MAX),
            entries: u32::try_from(self.shared.held_by(self.holder)).unwrap_or(u32::MAX),
            place: self.place.clone().map(|place| pb::Place {
                index: place.index,
                count: place.count,
                zones: place.zones.into_iter().collect(),
            }),
        }
    }

    fn instance(&self, said: pb::Instance) -> Result<Instance, Status> {
        self.member.only(&said.service)?;
        Ok(Instance {
            service: self.member.service.clone(),
            addr: address(&said.addr)?,
            instance: said.instance,
            identity: self.member.identity.clone(),
            labels: said.labels.into_iter().collect(),
            zone: said.zone,
            weight: said.weight.max(1),
            priority: said.priority,
        })
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
        self.shared.stream_ended(self.holder);
    }
}

/// Ends a moment after somebody joined or left. What happens in that moment is part of it.
async fn moved(membership: &mut watch::Receiver<u64>) {
    // The sender lives as long as the server.
    if membership.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
    membership.mark_changed();
    tokio::time::sleep(TELL_AFTER).await;
    membership.mark_unchanged();
}

fn name(text: &str) -> Result<ServiceName, Status> {
    text.parse()
        .map_err(|error| Status::invalid_argument(format!("{error}")))
}

fn address(text: &str) -> Result<SocketAddr, Status> {
    text.parse()
        .map_err(|_| Status::invalid_argument(format!("{text:?} is not ip:port")))
}
