use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use http::request::Parts;
use mesh_core::policy::{ConcurrencyAlgorithm, ConcurrencyPolicy, QueuePolicy};
use tower_layer::Layer;

use super::Bulkhead;
use crate::{overload::Entrance, telemetry::Recorder};

/// Most compartments; calls of further keys share one.
const COMPARTMENTS: usize = 1_000;

type KeyOf = dyn Fn(&Parts) -> Option<Vec<u8>> + Send + Sync;

/// Bounds calls in work, by key. All services made by one layer share the compartments.
#[derive(Clone)]
pub struct BulkheadLayer {
    concurrency: ConcurrencyPolicy,
    queue: QueuePolicy,
    key_of: Option<Arc<KeyOf>>,
    /// The compartment of calls without a key, and of keys for which there is no room.
    common: Arc<Entrance>,
    compartments: Arc<Mutex<Compartments>>,
}

/// By key.
type Compartments = HashMap<Box<[u8]>, Arc<Entrance>>;

// === impl BulkheadLayer ===

impl BulkheadLayer {
    /// At most `limit` calls in work, and the default queue of 100.
    pub fn new(limit: u32) -> Self {
        let concurrency = ConcurrencyPolicy::default()
            .with_algorithm(ConcurrencyAlgorithm::Fixed)
            .with_initial(limit);
        Self::of(concurrency, QueuePolicy::default())
    }

    fn of(concurrency: ConcurrencyPolicy, queue: QueuePolicy) -> Self {
        Self {
            common: Arc::new(Entrance::new(&concurrency, &queue, &Recorder::disabled())),
            concurrency,
            queue,
            key_of: None,
            compartments: Arc::default(),
        }
    }

    /// Another queue; of size 0, none: what comes above the limit is refused at once.
    #[must_use]
    pub fn with_queue(self, queue: QueuePolicy) -> Self {
        Self {
            key_of: self.key_of,
            ..Self::of(self.concurrency, queue)
        }
    }

    /// A compartment for each key, each with the whole limit. Calls without a key share one, and so
    /// do those of further keys while there are 1,000.
    #[must_use]
    pub fn per(mut self, key: impl Fn(&Parts) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        self.key_of = Some(Arc::new(key));
        self
    }

    /// How many calls are in work now, in all compartments.
    pub fn in_work(&self) -> u32 {
        let compartments = self
            .compartments
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let keyed: u32 = compartments.values().map(|one| one.gate().in_work()).sum();
        keyed + self.common.gate().in_work()
    }

    pub(super) fn is_keyed(&self) -> bool {
        self.key_of.is_some()
    }

    /// The compartment of a call.
    pub(super) fn find(&self, head: Option<&Parts>) -> Arc<Entrance> {
        let key = head.and_then(|head| self.key_of.as_ref()?(head));
        let Some(key) = key else {
            return self.common.clone();
        };
        let mut compartments = self
            .compartments
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = compartments.get(&*key) {
            return found.clone();
        }
        if compartments.len() >= COMPARTMENTS {
            // Nobody is in them, so nothing is forgotten.
            compartments.retain(|_, one| Arc::strong_count(one) > 1);
        }
        if compartments.len() >= COMPARTMENTS {
            return self.common.clone();
        }
        let made = Arc::new(Entrance::new(
            &self.concurrency,
            &self.queue,
            &Recorder::disabled(),
        ));
        compartments.insert(key.into(), made.clone());
        made
    }
}

impl fmt::Debug for BulkheadLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BulkheadLayer")
            .field("limit", &self.concurrency.initial())
            .field("keyed", &self.is_keyed())
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for BulkheadLayer {
    type Service = Bulkhead<S>;

    fn layer(&self, inner: S) -> Bulkhead<S> {
        Bulkhead {
            inner,
            layer: self.clone(),
        }
    }
}
