//! Ceilings: limits on what is open at a time (Envoy's "circuit breaker").
//!
//! A ceiling is a counter and a limit. A permit is taken or refused at once, never waited for, and
//! returned when it is dropped. The limit can change while permits are out: lowering it refuses new
//! ones until enough have come back.

use std::fmt;
use std::sync::Arc;

use crate::context::Criticality;
use crate::overload::{firm_share, part};
use crate::policy::model::CeilingsPolicy;
use crate::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// One limit.
#[derive(Clone, Debug)]
pub struct Ceiling(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    used: AtomicU32,
    limit: AtomicU32,
}

/// One unit under a ceiling, returned on drop.
#[must_use = "the permit is returned when it is dropped"]
pub struct Permit(Arc<Shared>);

/// The four limits of a destination.
#[derive(Clone, Debug)]
pub struct Ceilings {
    /// Connections.
    pub connections: Ceiling,
    /// Calls that wait for an endpoint or a connection.
    pub pending: Ceiling,
    /// Calls in flight.
    pub requests: Ceiling,
    /// Retries in flight.
    pub retries: Ceiling,
}

// === impl Ceiling ===

impl Ceiling {
    /// A ceiling of `limit`; 0 refuses everything.
    pub fn new(limit: u32) -> Self {
        Self(Arc::new(Shared {
            used: AtomicU32::new(0),
            limit: AtomicU32::new(limit),
        }))
    }

    /// A permit, or `None` when the limit is reached.
    pub fn try_acquire(&self) -> Option<Permit> {
        self.try_acquire_beside(0)
    }

    /// The same for a call that matters as much as `level` says: the lower levels may fill only part
    /// of the limit, so that they are refused first.
    pub fn try_acquire_for(&self, level: Criticality) -> Option<Permit> {
        self.try_below(part(self.limit(), firm_share(level)))
    }

    /// The same with `more` above the limit.
    pub fn try_acquire_beside(&self, more: u32) -> Option<Permit> {
        self.try_below(self.limit().saturating_add(more))
    }

    fn try_below(&self, limit: u32) -> Option<Permit> {
        self.0
            .used
            .fetch_update(Relaxed, Relaxed, |used| (used < limit).then_some(used + 1))
            .ok()
            .map(|_| Permit(Arc::clone(&self.0)))
    }

    /// Changes the limit; permits that are out stay valid.
    pub fn set_limit(&self, limit: u32) {
        self.0.limit.store(limit, Relaxed);
    }

    /// The limit.
    pub fn limit(&self) -> u32 {
        self.0.limit.load(Relaxed)
    }

    /// Whether no permit is left now.
    pub fn is_full(&self) -> bool {
        self.used() >= self.limit()
    }

    /// How many permits are out.
    pub fn used(&self) -> u32 {
        self.0.used.load(Relaxed)
    }
}

// === impl Permit ===

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.used.fetch_sub(1, Relaxed);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}

// === impl Ceilings ===

impl Ceilings {
    /// The ceilings of a policy.
    pub fn new(policy: &CeilingsPolicy) -> Self {
        Self {
            connections: Ceiling::new(policy.connections()),
            pending: Ceiling::new(policy.pending()),
            requests: Ceiling::new(policy.requests()),
            retries: Ceiling::new(policy.retries()),
        }
    }

    /// A permit for a retry. As many as the ceiling says may be in flight beside those that the
    /// budget pays for: `percent` of the calls in flight. Envoy's form (the larger of 3 and 20 % of
    /// the calls), added instead of compared: the ceiling is what a calm destination has, and the
    /// share grows with what is in flight.
    pub fn try_retry(&self, percent: u32) -> Option<Permit> {
        let paid = u64::from(self.requests.used()) * u64::from(percent) / 100;
        self.retries
            .try_acquire_beside(u32::try_from(paid).unwrap_or(u32::MAX))
    }

    /// Applies a changed policy; what is counted stays counted.
    pub fn update(&self, policy: &CeilingsPolicy) {
        self.connections.set_limit(policy.connections());
        self.pending.set_limit(policy.pending());
        self.requests.set_limit(policy.requests());
        self.retries.set_limit(policy.retries());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_permit_comes_back() {
        let ceiling = Ceiling::new(2);
        let one = ceiling.try_acquire();
        let two = ceiling.try_acquire();
        assert!(one.is_some() && two.is_some());
        assert!(ceiling.try_acquire().is_none());
        drop(one);
        assert!(ceiling.try_acquire().is_some());
        assert_eq!(ceiling.used(), 1);
    }

    #[test]
    fn the_lower_levels_are_refused_first() {
        let ceiling = Ceiling::new(10);
        let fill = |level| {
            std::iter::repeat_with(|| ceiling.try_acquire_for(level))
                .map_while(|permit| permit)
                .collect::<Vec<_>>()
        };
        let sheddable = fill(Criticality::Sheddable);
        let plus = fill(Criticality::SheddablePlus);
        let critical = fill(Criticality::Critical);
        assert_eq!((sheddable.len(), plus.len(), critical.len()), (6, 2, 2));
        assert!(
            fill(Criticality::CriticalPlus).is_empty(),
            "a ceiling is a promise"
        );
    }

    #[test]
    fn a_lower_limit_refuses_until_enough_came_back() {
        let ceiling = Ceiling::new(3);
        let mut out: Vec<_> = (0..3).map(|_| ceiling.try_acquire()).collect();
        ceiling.set_limit(1);
        out.truncate(1);
        assert!(ceiling.try_acquire().is_none());
        out.clear();
        assert!(ceiling.try_acquire().is_some());
    }

    #[test]
    fn threads_never_exceed_the_limit() {
        let ceiling = Ceiling::new(5);
        let highest = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        let _permit = ceiling.try_acquire();
                        highest.fetch_max(ceiling.used(), Relaxed);
                    }
                });
            }
        });
        assert!(highest.into_inner() <= 5);
        assert_eq!(ceiling.used(), 0);
    }

    #[test]
    fn retries_in_flight_are_the_ceiling_and_a_share_of_the_calls() {
        let ceilings = Ceilings::new(&CeilingsPolicy::default().with_retries(3));
        let _calls: Vec<_> = (0..14).map(|_| ceilings.requests.try_acquire()).collect();
        let retries: Vec<_> = (0..10).filter_map(|_| ceilings.try_retry(20)).collect();
        assert_eq!(retries.len(), 5, "3, and 20 % of 14");
        drop(retries);
        assert!(ceilings.try_retry(0).is_some());
    }

    #[test]
    fn a_changed_policy_keeps_the_counts() {
        let ceilings = Ceilings::new(&CeilingsPolicy::default());
        let permit = ceilings.requests.try_acquire();
        ceilings.update(&CeilingsPolicy::default().with_requests(1));
        assert!(permit.is_some() && ceilings.requests.try_acquire().is_none());
    }
}
