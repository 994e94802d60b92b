use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use futures_core::Stream;
use tokio::sync::Notify;
use tonic::{Extensions, Request, Response, Status, Streaming};

use crate::{
    engine::server::{Config, ConnectionId, ConnectionView, Engine},
    pb::discovery::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse,
        aggregated_discovery_service_server::{
            AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
        },
    },
};

/// Who opened a stream, as far as its connection proves it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peer {
    /// SPIFFE id.
    pub identity: Option<String>,
    /// Remote address.
    pub addr: Option<SocketAddr>,
}

/// State of one stream and who opened it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PeerView {
    /// Who.
    pub peer: Peer,
    /// Since when.
    pub since: SystemTime,
    /// What it holds and refuses.
    pub connection: ConnectionView,
}

type Admit = dyn Fn(&Extensions) -> Result<Peer, Status> + Send + Sync;

/// The discovery service. Clones share one engine.
#[derive(Clone)]
pub struct Ads {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    admit: Box<Admit>,
}

struct State {
    engine: Engine,
    streams: HashMap<ConnectionId, Open>,
}

struct Open {
    peer: Peer,
    since: SystemTime,
    wake: Arc<Notify>,
}

impl Ads {
    /// A service over a new engine. `admit` names the peer of a new stream from its request's extensions, or refuses
    /// the stream.
    pub fn new(
        config: Config,
        admit: impl Fn(&Extensions) -> Result<Peer, Status> + Send + Sync + 'static,
    ) -> Self {
        let state = State {
            engine: Engine::new(config),
            streams: HashMap::new(),
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                admit: Box::new(admit),
            }),
        }
    }

    /// Reads or changes what is published; wakes exactly the streams that a change concerns.
    pub fn edit<R>(&self, edit: impl FnOnce(&mut Engine) -> R) -> R {
        let mut state = self.shared.lock();
        let result = edit(&mut state.engine);
        for id in state.engine.take_woken() {
            if let Some(stream) = state.streams.get(&id) {
                stream.wake.notify_one();
            }
        }
        result
    }

    /// All open streams, oldest first.
    pub fn peers(&self) -> Vec<PeerView> {
        let state = self.shared.lock();
        let view = |connection: ConnectionView| {
            let open = state.streams.get(&connection.id)?;
            Some(PeerView {
                peer: open.peer.clone(),
                since: open.since,
                connection,
            })
        };
        state
            .engine
            .connections()
            .into_iter()
            .filter_map(view)
            .collect()
    }

    /// The tonic service, to be put into a router or a server.
    pub fn service(&self) -> AggregatedDiscoveryServiceServer<Self> {
        AggregatedDiscoveryServiceServer::new(self.clone())
    }
}

impl fmt::Debug for Ads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ads").finish_non_exhaustive()
    }
}

impl Shared {
    /// A panic under the lock leaves the engine as it was between two of its own steps; serving on beats stopping.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One open stream; its end takes the connection out of the engine.
struct Conversation {
    shared: Arc<Shared>,
    id: ConnectionId,
    wake: Arc<Notify>,
    requests: Streaming<DeltaDiscoveryRequest>,
    ended: bool,
}

impl Conversation {
    async fn next(&mut self) -> Option<Result<DeltaDiscoveryResponse, Status>> {
        while !self.ended {
            if let Some(response) = self.shared.lock().engine.poll(self.id) {
                return Some(Ok(response));
            }
            tokio::select! {
                biased;
                request = self.requests.message() => match request {
                    Ok(Some(request)) => {
                        let taken = self.shared.lock().engine.on_request(self.id, &request);
                        if let Err(violation) = taken {
                            self.ended = true;
                            return Some(Err(Status::invalid_argument(violation.to_string())));
                        }
                    }
                    Ok(None) | Err(_) => self.ended = true,
                },
                () = self.wake.notified() => {}
            }
        }
        None
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.engine.disconnect(self.id);
        state.streams.remove(&self.id);
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Ads {
    type DeltaAggregatedResourcesStream =
        Pin<Box<dyn Stream<Item = Result<DeltaDiscoveryResponse, Status>> + Send + 'static>>;

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let peer = (self.shared.admit)(request.extensions())?;
        let wake = Arc::new(Notify::new());
        let id = {
            let mut state = self.shared.lock();
            let id = state.engine.connect();
            state.streams.insert(
                id,
                Open {
                    peer,
                    since: SystemTime::now(),
                    wake: wake.clone(),
                },
            );
            id
        };
        let conversation = Conversation {
            shared: self.shared.clone(),
            id,
            wake,
            requests: request.into_inner(),
            ended: false,
        };
        let responses = futures_util::stream::unfold(conversation, |mut conversation| async move {
            conversation
                .next()
                .await
                .map(|response| (response, conversation))
        });
        Ok(Response::new(Box::pin(responses)))
    }
}
