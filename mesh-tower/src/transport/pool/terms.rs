use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mesh_core::policy::model::ConnectionPolicy;
use tokio::sync::Notify;

/// The connection policy in force. It is read at each use, so that a new one holds at once, for
/// the connections that are open too. What calls need is in atomics of its own.
pub(in crate::transport) struct Terms {
    policy: Mutex<ConnectionPolicy>,
    max_streams: AtomicUsize,
    max_requests: AtomicUsize,
    /// Milliseconds; `u64::MAX` for none.
    max_age: AtomicU64,
    jitter_percent: AtomicU32,
    /// Doublings of the keep-alive interval that the peer has asked for.
    calmed: AtomicU32,
    /// Wakes who looks after the connections.
    pub(super) changed: Arc<Notify>,
}

/// When one connection began, and how its share of the jitter fell.
#[derive(Clone, Copy, Debug)]
pub(in crate::transport) struct Born {
    at: Instant,
    /// -1 to 1.
    spread: f32,
}

// === impl Terms ===

impl Terms {
    pub(super) fn new(policy: ConnectionPolicy) -> Self {
        let terms = Self {
            policy: Mutex::new(policy),
            max_streams: AtomicUsize::new(0),
            max_requests: AtomicUsize::new(0),
            max_age: AtomicU64::new(0),
            jitter_percent: AtomicU32::new(0),
            calmed: AtomicU32::new(0),
            changed: Arc::default(),
        };
        terms.spread(&policy);
        terms
    }

    fn spread(&self, policy: &ConnectionPolicy) {
        let limit = |limit: u32| match limit {
            0 => usize::MAX,
            limit => usize::try_from(limit).unwrap_or(usize::MAX),
        };
        let max_age = policy.max_age().map_or(u64::MAX, |age| {
            u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
        });
        self.max_streams
            .store(limit(policy.max_streams_per_connection()), Relaxed);
        self.max_requests
            .store(limit(policy.max_requests_per_connection()), Relaxed);
        self.max_age.store(max_age, Relaxed);
        let jitter = policy.max_age_jitter_percent().min(100);
        self.jitter_percent.store(jitter, Relaxed);
    }

    pub(in crate::transport) fn policy(&self) -> ConnectionPolicy {
        *self.policy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The policy before; `None` if it is the same.
    pub(super) fn replace(&self, policy: &ConnectionPolicy) -> Option<ConnectionPolicy> {
        let mut held = self.policy.lock().unwrap_or_else(PoisonError::into_inner);
        if *held == *policy {
            return None;
        }
        self.spread(policy);
        Some(std::mem::replace(&mut held, *policy))
    }

    /// Calls at a time on one HTTP/2 connection, below the peer's own limit.
    pub(in crate::transport) fn max_streams(&self) -> usize {
        self.max_streams.load(Relaxed)
    }

    /// Calls after which a connection takes no more.
    pub(in crate::transport) fn max_requests(&self) -> usize {
        self.max_requests.load(Relaxed)
    }

    /// Connections to the endpoint at a time.
    pub(super) fn max_connections(&self) -> usize {
        match self.policy().max_connections_per_endpoint() {
            0 => usize::MAX,
            max => usize::try_from(max).unwrap_or(usize::MAX),
        }
    }

    /// When a connection is to take no more calls; `None` for never.
    pub(in crate::transport) fn ends(&self, born: Born) -> Option<Instant> {
        let max = self.max_age.load(Relaxed);
        if max == u64::MAX {
            return None;
        }
        let share = f64::from(self.jitter_percent.load(Relaxed)) / 100.0;
        let factor = 1.0 + share * f64::from(born.spread);
        born.at
            .checked_add(Duration::from_millis((max as f64 * factor) as u64))
    }

    /// Silence before a ping; `None` for no pings.
    pub(in crate::transport) fn ping_after(&self) -> Option<Duration> {
        let interval = self.policy().keepalive_interval()?;
        // A8: a client that is told to ping more often than that does not.
        let interval = interval.max(Duration::from_secs(10));
        let calmed = self.calmed.load(Relaxed).min(16);
        Some(interval.saturating_mul(1 << calmed))
    }

    /// The peer has closed a connection because of its pings: A8 doubles the interval.
    pub(in crate::transport) fn calm_down(&self) {
        self.calmed.fetch_add(1, Relaxed);
    }
}

// === impl Born ===

impl Born {
    pub(in crate::transport) fn at(now: Instant) -> Self {
        Self {
            at: now,
            spread: fastrand::f32() * 2.0 - 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a9_ages_spread_by_the_jitter_around_the_limit() {
        let now = Instant::now();
        let age = Duration::from_secs(100);
        let policy = ConnectionPolicy::default()
            .with_max_age(Some(age))
            .with_max_age_jitter_percent(10);
        let terms = Terms::new(policy);
        let ages: Vec<_> = (0..1000)
            .filter_map(|_| terms.ends(Born::at(now)))
            .map(|end| (end - now).as_secs_f64())
            .collect();
        let least = ages.iter().copied().fold(f64::MAX, f64::min);
        let most = ages.iter().copied().fold(0.0, f64::max);
        assert_eq!(ages.len(), 1000);
        assert!((90.0..92.0).contains(&least), "{least}");
        assert!((108.0..=110.0).contains(&most), "{most}");
        assert!(terms.replace(&policy).is_none());
        assert!(terms.replace(&ConnectionPolicy::default()).is_some());
        assert_eq!(terms.ends(Born::at(now)), None);
    }

    #[test]
    fn a8_pings_are_10_s_apart_at_least_and_twice_as_rare_after_each_complaint() {
        let second = Duration::from_secs(1);
        let policy = ConnectionPolicy::default().with_keepalive_interval(Some(second));
        let terms = Terms::new(policy);
        assert_eq!(terms.ping_after(), Some(10 * second));
        terms.calm_down();
        terms.calm_down();
        assert_eq!(terms.ping_after(), Some(40 * second));
        terms.replace(&ConnectionPolicy::default());
        assert_eq!(terms.ping_after(), None);
    }
}
