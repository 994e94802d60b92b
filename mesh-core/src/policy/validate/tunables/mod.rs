//! The values of BackendPolicies: what they mean, and whether they make sense.

mod balance;
mod ejection;
mod health;
mod resilience;

use std::sync::Arc;
use std::time::Duration;

use http::Method;

use super::findings::Findings;
use super::index::Index;
use super::ranges::Ranges;
use crate::error::Code;
use crate::policy::defaults;
use crate::policy::model::{
    BalancePolicy, BreakerPolicy, BudgetPolicy, CeilingsPolicy, ConnectionPolicy, EjectionPolicy,
    HashOn, HealthPolicy, HedgePolicy, LocalityPolicy, Origins, ThrottlePolicy,
};
use crate::policy::spec::{
    BackendPolicySpec, Ceilings, Interval, Kind, Resource, ResourceId, RetryBudget, TargetKind,
};

/// A value with each given field replaced.
macro_rules! over {
    ($base:expr; $($with:ident: $value:expr),* $(,)?) => {{
        let mut out = $base;
        $( if let Some(value) = $value { out = out.$with(value); } )*
        out
    }};
}
pub(super) use over;

/// Everything that a policy can set for a backend.
#[derive(Default)]
pub(super) struct Tunables {
    pub(super) balance: BalancePolicy,
    pub(super) hash_on: Arc<[HashOn]>,
    pub(super) locality: LocalityPolicy,
    pub(super) ejection: EjectionPolicy,
    pub(super) ceilings: CeilingsPolicy,
    pub(super) budget: BudgetPolicy,
    pub(super) breaker: Option<BreakerPolicy>,
    pub(super) hedge: Option<HedgePolicy>,
    pub(super) health: Option<HealthPolicy>,
    pub(super) connection: ConnectionPolicy,
    pub(super) throttle: Option<ThrottlePolicy>,
    stream_idle: Option<Interval>,
    pub(super) origins: Origins,
}

impl Tunables {
    /// As in Gateway API's timeouts, zero says: none.
    pub(super) fn stream_idle(&self) -> Option<Duration> {
        let limit = self
            .stream_idle
            .map_or(defaults::STREAM_IDLE, Interval::get);
        Some(limit).filter(|limit| !limit.is_zero())
    }

    /// Takes over each top-level field that the policy sets.
    pub(super) fn set(&mut self, spec: &BackendPolicySpec) {
        if let Some(s) = &spec.load_balancing {
            self.balance = balance::policy(s);
            self.hash_on = super::hash::compile(&s.hash_on);
        }
        if let Some(s) = &spec.locality {
            self.locality = balance::locality(s);
        }
        if let Some(s) = &spec.outlier_detection {
            self.ejection = ejection::policy(s);
        }
        if let Some(s) = &spec.ceilings {
            self.ceilings = ceilings(s);
        }
        if let Some(s) = &spec.retry_budget {
            self.budget = budget(s);
        }
        if let Some(s) = &spec.breaker {
            self.breaker = resilience::breaker(s);
        }
        if let Some(s) = &spec.hedging {
            self.hedge = resilience::hedge(s);
        }
        if let Some(s) = &spec.health_check {
            self.health = health::policy(s);
        }
        if let Some(s) = &spec.connection {
            let connect = self.connection.connect_timeout();
            self.connection = resilience::connection(s).with_connect_timeout(connect);
        }
        if let Some(timeout) = spec.connect_timeout {
            self.connection = self.connection.with_connect_timeout(timeout.get());
        }
        self.stream_idle = spec.stream_idle_timeout.or(self.stream_idle);
    }
}

fn ceilings(s: &Ceilings) -> CeilingsPolicy {
    over!(CeilingsPolicy::default();
        with_connections: s.max_connections,
        with_pending: s.max_pending_requests,
        with_requests: s.max_requests,
        with_retries: s.max_retries,
    )
}

fn budget(s: &RetryBudget) -> BudgetPolicy {
    over!(BudgetPolicy::default();
        with_percent: s.percent,
        with_interval: s.interval.map(Interval::get),
        with_min_per_second: s.min_retries_per_second,
    )
}

/// The values of every BackendPolicy, used or not.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for resource in index.resources.values() {
        if let Resource::BackendPolicy(policy) = &***resource {
            let mut ranges = Ranges { resource, findings };
            check_one(&mut ranges, &policy.spec);
            hedged_routes(&mut ranges, &policy.spec, index);
        }
    }
}

fn check_one(ranges: &mut Ranges<'_, '_>, spec: &BackendPolicySpec) {
    if let Some(s) = &spec.load_balancing {
        balance::check(ranges, s);
    }
    if let Some(s) = &spec.locality {
        balance::check_locality(ranges, s);
    }
    if let Some(s) = &spec.outlier_detection {
        ejection::check(ranges, s);
    }
    if let Some(s) = &spec.breaker {
        resilience::check_breaker(ranges, s);
    }
    if let Some(s) = &spec.hedging {
        resilience::check_hedge(ranges, s);
    }
    if let Some(s) = &spec.health_check {
        health::check(ranges, s);
    }
    if let Some(s) = &spec.connection {
        resilience::check_connection(ranges, s);
    }
    let ceilings = spec.ceilings.clone().unwrap_or_default();
    let budget = spec.retry_budget.clone().unwrap_or_default();
    ranges.at_least_one("ceilings.maxConnections", ceilings.max_connections);
    ranges.at_least_one("ceilings.maxRequests", ceilings.max_requests);
    ranges.percent("retryBudget.percent", budget.percent);
    let bounds = Duration::from_secs(1)..=Duration::from_secs(60);
    ranges.duration("retryBudget.interval", budget.interval, bounds);
    ranges.positive("connectTimeout", spec.connect_timeout);
}

/// Hedging of routes whose calls it does not apply to.
fn hedged_routes(ranges: &mut Ranges<'_, '_>, spec: &BackendPolicySpec, index: &Index<'_>) {
    let hedging = spec.hedging.clone().unwrap_or_default();
    let off = spec.hedging.is_none() || hedging.enabled == Some(false);
    if off || hedging.idempotent == Some(true) {
        return;
    }
    for target in &spec.target_refs {
        let kind = match target.kind {
            TargetKind::HttpRoute => Kind::HttpRoute,
            TargetKind::GrpcRoute => Kind::GrpcRoute,
            _ => continue,
        };
        let id = ResourceId {
            kind,
            namespace: ranges.resource.metadata().namespace.clone(),
            name: target.name.clone().unwrap_or_default(),
        };
        let what = match index.resources.get(&id).map(|r| &***r) {
            Some(Resource::GrpcRoute(_)) => Some("gRPC calls".to_owned()),
            Some(Resource::HttpRoute(route)) => {
                let matches = route.spec.rules.iter().flat_map(|rule| &rule.matches);
                let mut methods = matches.filter_map(|m| m.method.as_ref());
                let risky = |m: &&String| m.parse::<Method>().is_ok_and(|m| !m.is_idempotent());
                let method = methods.find(risky);
                method.map(|method| format!("{method} calls"))
            }
            _ => None,
        };
        if let Some(what) = what {
            let why = format!("{what} are not idempotent: this hedging does not apply to them");
            ranges
                .warn("hedging", Code::POLICY_RETRY_UNSAFE, why)
                .help("if the callee recognises a repetition, add idempotent: true");
        }
    }
}
