use std::time::Duration;

/// What a window of calls showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Mean latency.
    pub rtt: Duration,
    /// The most calls that were in work when one of them ended.
    pub in_flight: u32,
    /// Whether any was lost to overload: cut by a timeout, or refused further below.
    pub dropped: bool,
    /// Whether calls were refused or had to wait meanwhile: the latency may be of our own making.
    pub held_back: bool,
}

// === impl Sample ===

impl Sample {
    /// A sample of calls that were neither lost nor held back.
    pub const fn new(rtt: Duration, in_flight: u32) -> Self {
        Self {
            rtt,
            in_flight,
            dropped: false,
            held_back: false,
        }
    }

    /// Seconds, at least a nanosecond: it is divided by.
    pub(super) fn seconds(&self) -> f64 {
        self.rtt.as_secs_f64().max(1e-9)
    }
}
