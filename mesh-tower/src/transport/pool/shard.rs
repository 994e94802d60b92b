use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesh_core::error::MeshError;
use tokio::sync::Notify;

use crate::runtime::AbortOnDrop;
use crate::transport::{h1, h2};

/// The connections of one worker.
#[derive(Default)]
pub(super) struct Shard {
    pub(super) lists: Mutex<Lists>,
    pub(super) freed: Notify,
    /// Calls that wait for `freed`, or for room.
    pub(super) waiting: AtomicUsize,
    /// Told when a stream of HTTP/2 may be free.
    pub(super) streams: Notify,
    /// Calls that wait for `streams`, or for room.
    pub(super) waiting_streams: AtomicUsize,
    /// Held while a connection that others wait for is being made: one handshake, not one for
    /// each of a burst of calls.
    pub(super) making: tokio::sync::Mutex<Option<MeshError>>,
    /// Counts the failures of `making`: who waited through one need not try again.
    pub(super) failures: AtomicU64,
}

#[derive(Default)]
pub(super) struct Lists {
    pub(super) idle: Vec<h1::Connection>,
    pub(super) h2: Vec<Arc<h2::Connection>>,
    pub(super) reaper: Option<AbortOnDrop>,
}

// === impl Shard ===

impl Shard {
    pub(super) fn lock(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets those who waited share a failure.
    pub(super) fn settle<T>(
        &self,
        last: &mut Option<MeshError>,
        made: Result<T, MeshError>,
    ) -> Result<T, MeshError> {
        *last = made.as_ref().err().cloned();
        if made.is_err() {
            self.failures.fetch_add(1, Relaxed);
        }
        made
    }
}
