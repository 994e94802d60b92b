use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use mesh_core::report::PlaintextSource;

/// The most addresses that are told apart; further ones are counted but not named.
const MAX_SOURCES: usize = 256;

/// Where plaintext comes from.
#[derive(Debug, Default)]
pub(crate) struct Sources(Mutex<HashMap<IpAddr, Arc<Source>>>);

/// One address.
#[derive(Debug, Default)]
pub(crate) struct Source {
    connections: AtomicU64,
    calls: AtomicU64,
}

// === impl Sources ===

impl Sources {
    /// Counts a connection. `None` beyond the bound; the second value says whether the address is
    /// new.
    pub(crate) fn connected(&self, source: IpAddr) -> Option<(Arc<Source>, bool)> {
        let source = source.to_canonical();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !all.contains_key(&source);
        if is_new && all.len() >= MAX_SOURCES {
            return None;
        }
        let found = all.entry(source).or_default();
        found.connections.fetch_add(1, Relaxed);
        Some((found.clone(), is_new))
    }

    /// What was counted since the last call, by address.
    pub(crate) fn take(&self) -> Vec<PlaintextSource> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = all.len() >= MAX_SOURCES;
        let mut out = Vec::new();
        all.retain(|source, counts| {
            let taken = PlaintextSource {
                source: *source,
                connections: counts.connections.swap(0, Relaxed),
                calls: counts.calls.swap(0, Relaxed),
            };
            let quiet = taken.connections == 0 && taken.calls == 0;
            if !quiet {
                out.push(taken);
            }
            // It is named in the log once, so it is forgotten only where the place is needed.
            !(full && quiet && Arc::strong_count(counts) == 1)
        });
        out.sort_by_key(|taken| taken.source);
        out
    }
}

// === impl Source ===

impl Source {
    /// A call began on one of its connections.
    pub(crate) fn called(&self) {
        self.calls.fetch_add(1, Relaxed);
    }
}
