use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Cell, Keyed, Rate};
use crate::clock;
use crate::context::{Arrival, Criticality};
use crate::identity::SpiffeId;
use crate::identity::access::{is_caller, operates};
use crate::overload::firm_share;
use crate::policy::{RateKey, RateLimit};

/// The rate limits of a service.
#[derive(Debug, Default)]
pub struct RateLimits {
    limits: Vec<Limit>,
}

#[derive(Debug)]
struct Limit {
    policy: RateLimit,
    rate: Rate,
    overrides: Vec<Rate>,
    /// Outlives a change of the policy.
    buckets: Arc<Buckets>,
}

#[derive(Debug, Default)]
struct Buckets {
    total: Cell,
    keyed: Keyed,
}

/// A call that is one too many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limited {
    /// The first limit that refused it.
    pub limit: Arc<str>,
    /// When all of them would allow it.
    pub retry_after: Duration,
}

/// The parts of a key, hashed without being put together.
struct Parts<'a> {
    limit: &'a RateLimit,
    other: Option<usize>,
    request: &'a Arrival<'a>,
}

// === impl RateLimits ===

impl RateLimits {
    /// The limits of a policy, all buckets full.
    pub fn new(limits: &[RateLimit], now: Instant) -> Self {
        Self::default().next(limits, now)
    }

    /// The limits of a changed policy. A limit of the same name and keys keeps its buckets: what was
    /// spent stays spent, call for call.
    #[must_use]
    pub fn next(&self, limits: &[RateLimit], now: Instant) -> Self {
        let limits = limits.iter().map(|policy| {
            let rate = Rate::new(policy.requests(), policy.per(), policy.burst());
            let kept = self.limits.iter().find(|limit| {
                limit.policy.name() == policy.name() && limit.policy.keys() == policy.keys()
            });
            if let Some(before) = kept.filter(|limit| limit.rate != rate) {
                let now = clock::nanos(now);
                before.buckets.total.rescale(before.rate, rate, now);
                before.buckets.keyed.rescale(before.rate, rate, now);
            }
            Limit {
                rate,
                overrides: policy
                    .overrides()
                    .iter()
                    .map(|other| Rate::new(other.requests(), policy.per(), other.burst()))
                    .collect(),
                buckets: kept.map(|limit| limit.buckets.clone()).unwrap_or_default(),
                policy: policy.clone(),
            }
        });
        Self {
            limits: limits.collect(),
        }
    }

    /// Whether there is no limit at all.
    pub fn is_empty(&self) -> bool {
        self.limits.is_empty()
    }

    /// How many keys are remembered, of all limits.
    pub fn keys(&self) -> usize {
        self.limits.iter().map(|l| l.buckets.keyed.len()).sum()
    }

    /// Counts a call with every limit that it falls under, or with none of them. Only part of a burst
    /// is for the lower levels of criticality.
    ///
    /// Two calls that arrive in the same moment may both find the last place and one of them be
    /// refused by a later limit: then an earlier one has counted it. Never the other way round.
    ///
    /// # Errors
    /// The first limit that it is too much for, and how long to wait for all.
    pub fn check(
        &self,
        now: Instant,
        request: &Arrival<'_>,
        level: Criticality,
    ) -> Result<(), Limited> {
        let percent = firm_share(level);
        let mut limited: Option<Limited> = None;
        let mut refuse = |limit: &Limit, wait: Duration| match &mut limited {
            Some(first) => first.retry_after = first.retry_after.max(wait),
            None => {
                limited = Some(Limited {
                    limit: limit.policy.name().clone(),
                    retry_after: wait,
                });
            }
        };
        let applies = || self.limits.iter().filter(|limit| limit.applies(request));
        if applies().nth(1).is_some() {
            for limit in applies() {
                if let Err(wait) = limit.ask(now, request, percent, false) {
                    refuse(limit, wait);
                }
            }
            if let Some(limited) = limited {
                return Err(limited);
            }
        }
        for limit in applies() {
            limit
                .ask(now, request, percent, true)
                .map_err(|wait| Limited {
                    limit: limit.policy.name().clone(),
                    retry_after: wait,
                })?;
        }
        Ok(())
    }
}

// === impl Limit ===

impl Limit {
    fn applies(&self, request: &Arrival<'_>) -> bool {
        let matches = self.policy.matches();
        matches.is_empty()
            || matches
                .iter()
                .any(|to| operates(to, request.method, request.path, request.grpc))
    }

    fn ask(
        &self,
        now: Instant,
        request: &Arrival<'_>,
        percent: u32,
        take: bool,
    ) -> Result<(), Duration> {
        let other = request.peer.and_then(|peer| {
            self.policy.overrides().iter().position(|other| {
                other
                    .from()
                    .iter()
                    .any(|from| is_caller(from, peer, request.domain))
            })
        });
        let rate = other.map_or(self.rate, |at| self.overrides[at]);
        let Buckets { total, keyed } = &*self.buckets;
        if self.policy.is_total() && other.is_none() {
            return match take {
                true => total.take(rate, now, percent),
                false => total.peek(rate, now, percent),
            };
        }
        let key = keyed.key(Parts {
            limit: &self.policy,
            other,
            request,
        });
        match take {
            true => keyed.take(key, rate, now, percent),
            false => keyed.peek(key, rate, now, percent),
        }
    }
}

// === impl Parts ===

impl Hash for Parts<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let request = self.request;
        let peer = || request.peer.map(SpiffeId::as_str);
        // A caller with a number of its own has a bucket of its own.
        self.other.map(|at| (at, peer())).hash(state);
        for key in self.limit.keys() {
            match key {
                RateKey::Identity => peer().hash(state),
                RateKey::Header(name) => {
                    request.headers.get(name).map(|v| v.as_bytes()).hash(state);
                }
                RateKey::Method => request.method.hash(state),
                RateKey::Path => request.path.hash(state),
            }
        }
    }
}
