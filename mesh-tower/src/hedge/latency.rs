use std::sync::Arc;
use std::time::Instant;

use mesh_core::hedge::Hedger;

use crate::runtime;

/// Measures an attempt until it is dropped. One that was cancelled counts with what it took so far:
/// left out, the slow ones, which lose, would make the percentile look fast.
pub(crate) struct Latency {
    hedger: Arc<Hedger>,
    began: Instant,
}

// === impl Latency ===

impl Latency {
    pub(crate) fn begin(hedger: &Arc<Hedger>, began: Instant) -> Self {
        Self {
            hedger: hedger.clone(),
            began,
        }
    }
}

impl Drop for Latency {
    fn drop(&mut self) {
        let took = runtime::now().saturating_duration_since(self.began);
        self.hedger.observe(took);
    }
}
