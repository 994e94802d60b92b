use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::ServerConfig;
use tokio::sync::watch;

use super::{Identity, TlsFailure, TrustRoots, server};

/// The identity and the trusted roots of this process, replaceable at any time.
///
/// Clones are the same credentials. A handshake uses what is in force when it begins.
#[derive(Clone)]
pub struct Credentials(Arc<watch::Sender<Arc<State>>>);

/// One generation: what is derived from it is built at most once.
#[derive(Default)]
pub(super) struct State {
    identity: Option<Arc<Identity>>,
    trust: Arc<TrustRoots>,
    generation: u64,
    /// By what is asked of a client.
    servers: [OnceLock<Result<Arc<ServerConfig>, TlsFailure>>; server::Demand::KINDS],
}

// === impl Credentials ===

impl Credentials {
    /// Neither identity nor trust yet.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Arc::default())))
    }

    /// Sets who this process is, for handshakes from now on.
    pub fn set_identity(&self, identity: Identity) {
        let identity = Arc::new(identity);
        self.replace(|state| (Some(identity), state.trust.clone()));
    }

    /// Sets whom it believes, for handshakes from now on.
    pub fn set_trust(&self, trust: TrustRoots) {
        self.replace(|state| (state.identity.clone(), Arc::new(trust)));
    }

    fn replace(&self, change: impl FnOnce(&State) -> (Option<Arc<Identity>>, Arc<TrustRoots>)) {
        self.0.send_modify(|state| {
            let (identity, trust) = change(state);
            let generation = state.generation + 1;
            *state = Arc::new(State {
                identity,
                trust,
                generation,
                ..State::default()
            });
        });
    }

    /// Who this process is; `None` before it has joined.
    pub fn identity(&self) -> Option<Arc<Identity>> {
        self.0.borrow().identity.clone()
    }

    /// Whom it believes.
    pub fn trust(&self) -> Arc<TrustRoots> {
        self.0.borrow().trust.clone()
    }

    /// Whether there is an identity.
    pub fn has_identity(&self) -> bool {
        self.0.borrow().identity.is_some()
    }

    /// Counts the changes so far.
    pub fn generation(&self) -> u64 {
        self.0.borrow().generation
    }

    /// Resolves at the next change after this call, with the new generation.
    pub fn changed(&self) -> impl Future<Output = u64> + Send + 'static {
        let mut watch = self.0.subscribe();
        async move {
            match watch.changed().await {
                Ok(()) => watch.borrow().generation,
                // Nobody is left to change anything.
                Err(_) => std::future::pending().await,
            }
        }
    }

    pub(super) fn state(&self) -> Arc<State> {
        self.0.borrow().clone()
    }
}

impl Default for Credentials {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.borrow();
        f.debug_struct("Credentials")
            .field("identity", &state.identity)
            .field("trust", &state.trust)
            .finish()
    }
}

// === impl State ===

impl State {
    pub(super) fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.as_ref()
    }

    pub(super) fn trust(&self) -> &Arc<TrustRoots> {
        &self.trust
    }

    /// The server's configuration of this generation.
    pub(super) fn server(&self, demand: server::Demand) -> Result<Arc<ServerConfig>, TlsFailure> {
        self.servers[demand.index()]
            .get_or_init(|| server::config(self, demand).map(Arc::new))
            .clone()
    }
}
