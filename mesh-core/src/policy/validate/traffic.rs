//! What servers do with calls that arrive, and when callers hold back.

use std::collections::BTreeMap;
use std::time::Duration;

use super::access::{operation, peer};
use super::attach::{Attachments, Target};
use super::findings::Findings;
use super::hash;
use super::index::Index;
use super::ranges::Ranges;
use super::tunables::over;
use crate::error::Code;
use crate::name::ServiceName;
use crate::policy::defaults;
use crate::policy::model::{
    ConcurrencyPolicy, CriticalityPolicy, CriticalityRule, InboundTraffic, Operation, Peer,
    QueuePolicy, RateKey, RateLimit, RateOverride, ThrottlePolicy,
};
use crate::policy::spec::{
    self, Concurrency, CriticalityRules, Interval, Kind, PeerSelector, Queue, RequestSelector,
    Resource, ResourceId, Throttle,
};

/// Longest time of a rate limit.
const PER: Duration = Duration::from_secs(3600);

/// Every policy compiled, by its identity.
pub(super) struct Compiled(BTreeMap<ResourceId, Parts>);

/// What one policy sets of [`InboundTraffic`].
struct Parts {
    rate_limits: Option<Vec<RateLimit>>,
    concurrency: Option<ConcurrencyPolicy>,
    queue: Option<QueuePolicy>,
    criticality: Option<CriticalityPolicy>,
    timeout: Option<Duration>,
}

pub(super) fn compile(index: &Index<'_>, findings: &mut Findings) -> Compiled {
    let mut out = BTreeMap::new();
    for (id, resource) in &index.resources {
        let Resource::TrafficPolicy(policy) = &***resource else {
            continue;
        };
        let inbound = policy.spec.inbound.clone().unwrap_or_default();
        let outbound = policy.spec.outbound.clone().unwrap_or_default();
        let rate_limits = inbound
            .rate_limits
            .map(|limits| self::rate_limits(resource, &limits, index, findings));
        let criticality = inbound
            .criticality
            .map(|rules| self::criticality(resource, &rules, index, findings));
        let mut ranges = Ranges { resource, findings };
        if let Some(s) = &inbound.concurrency {
            check_concurrency(&mut ranges, s);
        }
        if let Some(s) = &inbound.queue {
            check_queue(&mut ranges, s);
        }
        ranges.positive("inbound.timeout", inbound.timeout);
        if let Some(s) = &outbound.throttle {
            check_throttle(&mut ranges, s);
        }
        let parts = Parts {
            rate_limits,
            concurrency: inbound.concurrency.as_ref().map(concurrency),
            queue: inbound.queue.as_ref().map(queue),
            criticality,
            timeout: inbound.timeout.map(Interval::get),
        };
        out.insert(id.clone(), parts);
    }
    Compiled(out)
}

impl Compiled {
    /// What holds for the service: mesh < namespace < service < subset, per field of `inbound`.
    pub(super) fn for_service(
        &self,
        attached: &Attachments<'_>,
        name: &ServiceName,
    ) -> InboundTraffic {
        self.merge(attached.for_service(Kind::TrafficPolicy, name))
    }

    /// What holds for services about which nothing more specific is said.
    pub(super) fn for_rest(
        &self,
        attached: &Attachments<'_>,
        namespace: Option<&str>,
    ) -> InboundTraffic {
        let namespace = namespace.map(|n| Target::Namespace(n.to_owned()));
        let targets = [Some(Target::Mesh), namespace].into_iter().flatten();
        self.merge(targets.flat_map(|t| attached.at(Kind::TrafficPolicy, t).iter().copied()))
    }

    fn merge<'a>(&self, policies: impl Iterator<Item = &'a Resource>) -> InboundTraffic {
        let mut out = InboundTraffic::default();
        for policy in policies {
            let Some(parts) = self.0.get(&policy.id()) else {
                continue;
            };
            for (field, set) in [
                ("rateLimits", parts.rate_limits.is_some()),
                ("concurrency", parts.concurrency.is_some()),
                ("queue", parts.queue.is_some()),
                ("criticality", parts.criticality.is_some()),
                ("timeout", parts.timeout.is_some()),
            ] {
                if set {
                    out.origins.set(field, policy.id());
                }
            }
            if let Some(limits) = &parts.rate_limits {
                out = out.with_rate_limits(limits.iter().cloned());
            }
            out = over!(out;
                with_concurrency: parts.concurrency,
                with_queue: parts.queue,
                with_criticality: parts.criticality.clone(),
            );
            out.timeout = parts.timeout.or(out.timeout);
        }
        out
    }
}

// === rate limits ===

fn rate_limits(
    resource: &Resource,
    limits: &[spec::RateLimit],
    index: &Index<'_>,
    findings: &mut Findings,
) -> Vec<RateLimit> {
    let mut out: Vec<RateLimit> = Vec::new();
    for (n, limit) in limits.iter().enumerate() {
        let at = format!("inbound.rateLimits[{n}]");
        let name = match &limit.name {
            Some(name) => name.clone(),
            None => format!("{}/{n}", resource.metadata().name),
        };
        let matches = operations(resource, &format!("{at}.matches"), &limit.matches, findings);
        let mut overrides = Vec::new();
        for (n, other) in limit.overrides.iter().enumerate() {
            let at = format!("{at}.overrides[{n}]");
            let from = peers(
                resource,
                &format!("{at}.from"),
                &other.from,
                index,
                findings,
            );
            let mut ranges = Ranges { resource, findings };
            if other.from.is_empty() {
                let why = "the override does not say `from` whom";
                ranges.note(&format!("{at}.from"), Code::POLICY_MISSING_FIELD, why);
            }
            ranges.at_least_one(&format!("{at}.requests"), Some(other.requests));
            ranges.at_least_one(&format!("{at}.burst"), other.burst);
            let burst = other.burst.unwrap_or(other.requests);
            overrides.push(RateOverride::new(from, other.requests).with_burst(burst));
        }
        let mut ranges = Ranges { resource, findings };
        if out.iter().any(|known| **known.name() == *name) {
            let why = format!("the limit `{name}` is given twice");
            ranges.note(&format!("{at}.name"), Code::POLICY_DUPLICATE_NAME, why);
        }
        ranges.at_least_one(&format!("{at}.requests"), Some(limit.requests));
        ranges.at_least_one(&format!("{at}.burst"), limit.burst);
        let per = Duration::from_millis(1)..=PER;
        ranges.duration(&format!("{at}.per"), limit.per, per);
        let keys = limit.by.iter().enumerate();
        let keys: Vec<RateKey> = keys
            .filter_map(|(n, key)| self::key(&mut ranges, &format!("{at}.by[{n}]"), key))
            .collect();
        let per = limit.per.map_or(defaults::RATE_LIMIT_PER, Interval::get);
        let limit = RateLimit::new(name, limit.requests, per)
            .with_keys(keys)
            .with_burst(limit.burst.unwrap_or(limit.requests))
            .with_matches(matches)
            .with_overrides(overrides);
        out.push(limit);
    }
    out
}

fn key(ranges: &mut Ranges<'_, '_>, at: &str, key: &spec::RateKey) -> Option<RateKey> {
    if let Some(name) = &key.header {
        hash::header(ranges, &format!("{at}.header"), name);
    }
    let header = key.header.as_ref().and_then(|name| name.parse().ok());
    let given = [
        (key.identity == Some(true)).then_some(RateKey::Identity),
        header.map(RateKey::Header),
        (key.method == Some(true)).then_some(RateKey::Method),
        (key.path == Some(true)).then_some(RateKey::Path),
    ];
    let mut given = given.into_iter().flatten();
    let first = given.next();
    if (first.is_none() && key.header.is_none()) || given.next().is_some() {
        let why = "calls are divided by exactly one of identity, header, method, path";
        let finding = ranges.refuse(at, why);
        finding.help("such as { identity: true } or { header: x-tenant }; several make a list");
    }
    first
}

fn operations(
    resource: &Resource,
    at: &str,
    requests: &[RequestSelector],
    findings: &mut Findings,
) -> Vec<Operation> {
    let requests = requests.iter().enumerate();
    requests
        .map(|(n, r)| operation(resource, &format!("spec.{at}[{n}]"), r, findings))
        .collect()
}

fn peers(
    resource: &Resource,
    at: &str,
    from: &[PeerSelector],
    index: &Index<'_>,
    findings: &mut Findings,
) -> Vec<Peer> {
    let from = from.iter().enumerate();
    from.filter_map(|(n, p)| peer(resource, &format!("spec.{at}[{n}]"), p, index, findings))
        .collect()
}

// === the rest ===

fn concurrency(s: &Concurrency) -> ConcurrencyPolicy {
    let d = ConcurrencyPolicy::default();
    // A limit that is given moves the defaults of the others along.
    let max = s
        .max
        .unwrap_or_else(|| d.max().max(s.initial.unwrap_or(0)).max(s.min.unwrap_or(0)));
    let min = s
        .min
        .unwrap_or_else(|| d.min().min(max).min(s.initial.unwrap_or(max)));
    let initial = s.initial.unwrap_or_else(|| d.initial().max(min).min(max));
    over!(d.with_min(min).with_max(max).with_initial(initial);
        with_algorithm: s.algorithm,
        with_smoothing_milli: s.smoothing.map(spec::Ratio::milli),
        with_tolerance_milli: s.tolerance.map(spec::Ratio::milli),
        with_queue: s.queue,
        with_long_window: s.long_window,
        with_backoff_milli: s.backoff.map(spec::Ratio::milli),
        with_slow_after: s.slow_after.map(Interval::get),
    )
}

fn check_concurrency(ranges: &mut Ranges<'_, '_>, s: &Concurrency) {
    let at = |field: &str| format!("inbound.concurrency.{field}");
    const MOST: u32 = 1_000_000;
    ranges.number(&at("min"), s.min, 1..=MOST);
    ranges.number(&at("max"), s.max, 1..=MOST);
    ranges.number(&at("initial"), s.initial, 1..=MOST);
    for (low, high) in [
        (("min", s.min), ("max", s.max)),
        (("min", s.min), ("initial", s.initial)),
        (("initial", s.initial), ("max", s.max)),
    ] {
        if let (Some(a), Some(b)) = (low.1, high.1) {
            ranges.ordered((&at(low.0), a), (&at(high.0), b));
        }
    }
    ranges.ratio(&at("smoothing"), s.smoothing, 1..=1000);
    ranges.ratio(&at("tolerance"), s.tolerance, 1000..=10_000);
    ranges.number(&at("longWindow"), s.long_window, 10..=100_000);
    ranges.ratio(&at("backoff"), s.backoff, 1..=999);
    ranges.positive(&at("slowAfter"), s.slow_after);
}

fn queue(s: &Queue) -> QueuePolicy {
    over!(QueuePolicy::default();
        with_size: s.size,
        with_target: s.target.map(Interval::get),
        with_interval: s.interval.map(Interval::get),
    )
}

fn check_queue(ranges: &mut Ranges<'_, '_>, s: &Queue) {
    let at = |field: &str| format!("inbound.queue.{field}");
    ranges.number(&at("size"), s.size, 0..=100_000);
    ranges.positive(&at("target"), s.target);
    ranges.positive(&at("interval"), s.interval);
    let target = s.target.unwrap_or(Interval::new(defaults::QUEUE_TARGET));
    let interval = s
        .interval
        .unwrap_or(Interval::new(defaults::QUEUE_INTERVAL));
    ranges.ordered((&at("target"), target), (&at("interval"), interval));
}

fn criticality(
    resource: &Resource,
    s: &CriticalityRules,
    index: &Index<'_>,
    findings: &mut Findings,
) -> CriticalityPolicy {
    let at = "inbound.criticality.rules";
    let mut rules = Vec::new();
    for (n, rule) in s.rules.iter().enumerate() {
        let from = peers(
            resource,
            &format!("{at}[{n}].from"),
            &rule.from,
            index,
            findings,
        );
        let matches = operations(
            resource,
            &format!("{at}[{n}].matches"),
            &rule.matches,
            findings,
        );
        // A caller that could not be read must not become everyone.
        if from.len() == rule.from.len() {
            rules.push(CriticalityRule::new(from, matches, rule.level.into()));
        }
    }
    over!(CriticalityPolicy::default().with_rules(rules);
        with_trust_mesh: s.trust_mesh,
        with_default_level: s.default_level.map(Into::into),
    )
}

/// `None` switches it off.
pub(super) fn throttle(s: &Throttle) -> Option<ThrottlePolicy> {
    let policy = over!(ThrottlePolicy::default();
        with_k_milli: s.k.map(spec::Ratio::milli),
        with_window: s.window.map(Interval::get),
        with_max_reject_percent: s.max_reject_percent,
    );
    s.enabled.unwrap_or(true).then_some(policy)
}

fn check_throttle(ranges: &mut Ranges<'_, '_>, s: &Throttle) {
    let at = |field: &str| format!("outbound.throttle.{field}");
    ranges.ratio(&at("k"), s.k, 1001..=100_000);
    let window = Duration::from_secs(1)..=PER;
    ranges.duration(&at("window"), s.window, window);
    ranges.number(&at("maxRejectPercent"), s.max_reject_percent, 1..=99);
}

/// An empty list of limits, to take others away, is a list all the same.
pub(super) fn fields(spec: &spec::TrafficPolicySpec) -> Vec<&'static str> {
    let inbound = spec.inbound.as_ref();
    let outbound = spec.outbound.as_ref();
    let fields = [
        (
            "inbound.rateLimits",
            inbound.is_some_and(|s| s.rate_limits.is_some()),
        ),
        (
            "inbound.concurrency",
            inbound.is_some_and(|s| s.concurrency.is_some()),
        ),
        ("inbound.queue", inbound.is_some_and(|s| s.queue.is_some())),
        (
            "inbound.criticality",
            inbound.is_some_and(|s| s.criticality.is_some()),
        ),
        (
            "inbound.timeout",
            inbound.is_some_and(|s| s.timeout.is_some()),
        ),
        (
            "outbound.throttle",
            outbound.is_some_and(|s| s.throttle.is_some()),
        ),
    ];
    let set = fields.into_iter().filter(|(_, set)| *set);
    set.map(|(name, _)| name).collect()
}
