use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::outcome::{Arrival, Call, Turn};

/// What has happened so far.
pub(super) struct Record {
    pub(super) start: Instant,
    seen: Mutex<Seen>,
}

#[derive(Default)]
pub(super) struct Seen {
    pub(super) log: String,
    pub(super) calls: Vec<Call>,
    pub(super) arrivals: Vec<Arrival>,
    pub(super) turns: Vec<Turn>,
}

// === impl Record ===

impl Record {
    pub(super) fn start() -> Self {
        Self {
            start: Instant::now(),
            seen: Mutex::default(),
        }
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Duration {
        Instant::now().saturating_duration_since(self.start)
    }

    pub(super) fn line(&self, text: &str) {
        let seconds = self.now().as_secs_f64();
        let _ = writeln!(self.seen().log, "{seconds:>9.3}  {text}");
    }

    pub(super) fn arrived(&self, host: &str) {
        let at = self.now();
        self.seen().arrivals.push(Arrival {
            at,
            host: host.to_owned(),
        });
    }
}
