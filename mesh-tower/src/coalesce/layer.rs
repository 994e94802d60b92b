use std::{fmt, sync::Arc};

use http::request::Parts;
use mesh_core::{context::Criticality, telemetry::names};
use tower_layer::Layer;

use super::{Coalesce, flight::Flights, key};
use crate::telemetry::{Counter, Recorder};

/// Longest answer that is shared.
const MAX_BODY: usize = 64 * 1024;
/// Most calls that are shared at a time.
const MAX_CALLS: usize = 1_000;

type KeyOf = dyn Fn(&Parts) -> Option<Vec<u8>> + Send + Sync;

/// Lets calls for the same thing share one. All services made by one layer share.
#[derive(Clone)]
pub struct CoalesceLayer {
    pub(super) flights: Arc<Flights>,
    key_of: Option<Arc<KeyOf>>,
    pub(super) max_body: usize,
    pub(super) max_calls: usize,
    pub(super) shared: Counter,
}

// === impl CoalesceLayer ===

impl CoalesceLayer {
    /// Shares GET and HEAD.
    pub fn new() -> Self {
        Self {
            flights: Arc::default(),
            key_of: None,
            max_body: MAX_BODY,
            max_calls: MAX_CALLS,
            shared: Counter::noop(),
        }
    }

    /// Shares calls with an equal key, whatever their method; none for a call that goes by itself.
    /// Who gives the key answers for it that calls with a body have equal ones, and that an answer
    /// is right for all who share it.
    #[must_use]
    pub fn keyed(
        mut self,
        key: impl Fn(&Parts) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        self.key_of = Some(Arc::new(key));
        self
    }

    /// The longest answer that is shared, in bytes. 64 KiB.
    #[must_use]
    pub fn with_max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// The most calls that are shared at a time. 1,000.
    #[must_use]
    pub fn with_max_calls(mut self, calls: usize) -> Self {
        self.max_calls = calls;
        self
    }

    /// Counts the calls to `service` that another's call answered.
    #[must_use]
    pub fn counted(mut self, recorder: &Recorder, service: &str) -> Self {
        self.shared = recorder.counter(names::COALESCED, &[(names::SERVICE, service)]);
        self
    }

    /// How many calls are under way that could be shared.
    pub fn under_way(&self) -> usize {
        self.flights.len()
    }

    pub(super) fn is_keyed(&self) -> bool {
        self.key_of.is_some()
    }

    pub(super) fn key(&self, head: &Parts, level: Criticality) -> Option<Vec<u8>> {
        match &self.key_of {
            Some(own) => own(head),
            None => key::of(head, level),
        }
    }
}

impl Default for CoalesceLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CoalesceLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoalesceLayer")
            .field("max_body", &self.max_body)
            .field("max_calls", &self.max_calls)
            .field("keyed", &self.is_keyed())
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for CoalesceLayer {
    type Service = Coalesce<S>;

    fn layer(&self, inner: S) -> Coalesce<S> {
        Coalesce {
            inner,
            layer: self.clone(),
        }
    }
}
