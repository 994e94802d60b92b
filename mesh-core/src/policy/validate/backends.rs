//! The tunables of each backend, and the list of backends with positions that stay.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::attach::{Attachments, Target};
use super::findings::Findings;
use super::index::Index;
use super::services::{Defined, Services, implicit};
use crate::error::Code;
use crate::name::ServiceName;
use crate::policy::defaults;
use crate::policy::model::{
    AppProtocol, Backend, BackendIx, BackendKey, BalancePolicy, BudgetPolicy, CeilingsPolicy,
    ConnectionPolicy, EjectionPolicy, LocalityPolicy, MtlsMode, Outbound, SubsetFallback, TlsMode,
    TransportModel,
};
use crate::policy::spec::{
    BackendPolicySpec, Ceilings, Interval, Kind, LoadBalancing, OutlierDetection, Resource,
    ResourceId, RetryBudget,
};

/// Everything that a BackendPolicy can set.
#[derive(Clone, Copy)]
struct Tunables {
    balance: BalancePolicy,
    ejection: EjectionPolicy,
    ceilings: CeilingsPolicy,
    budget: BudgetPolicy,
    connect_timeout: Duration,
}

/// A backend before it has its position.
type Id = (ServiceName, Option<u16>, Option<ResourceId>);

/// Backends as they are asked for. Positions are provisional until [`finish`](Self::finish).
pub(super) struct Backends<'a> {
    attached: &'a Attachments<'a>,
    services: Services,
    transport: HashMap<ServiceName, Arc<TransportModel>>,
    ids: HashMap<Id, u32>,
    made: Vec<Backend>,
}

impl<'a> Backends<'a> {
    pub(super) fn new(
        attached: &'a Attachments<'a>,
        services: Services,
        transport: HashMap<ServiceName, Arc<TransportModel>>,
    ) -> Self {
        Self {
            attached,
            services,
            transport,
            ids: HashMap::new(),
            made: Vec::new(),
        }
    }

    pub(super) fn services(&self) -> &Services {
        &self.services
    }

    /// The service, made implicit when it is not known.
    pub(super) fn service(&mut self, name: &ServiceName) -> &Defined {
        self.services
            .entry(name.clone())
            .or_insert_with(|| implicit(name))
    }

    /// The port that is meant when none is said, or any one is as good.
    pub(super) fn port(&mut self, name: &ServiceName, port: Option<u16>) -> Option<u16> {
        let ports = &self.service(name).ports;
        match ports.iter().find(|p| Some(p.number) == port) {
            Some(port) => Some(port.number),
            None => ports.first().map(|p| p.number),
        }
    }

    /// The backend of calls to a port of a service, sent by `route`.
    pub(super) fn get(
        &mut self,
        name: &ServiceName,
        port: Option<u16>,
        route: Option<&ResourceId>,
    ) -> BackendIx {
        let port = self.port(name, port);
        // A route has a backend of its own only if a policy is attached to it.
        let route = route
            .filter(|r| {
                let target = Target::Route((*r).clone());
                !self.attached.at(Kind::BackendPolicy, target).is_empty()
            })
            .cloned();
        let id = (name.clone(), port, route);
        if let Some(ix) = self.ids.get(&id) {
            return BackendIx(*ix);
        }
        let ix = u32::try_from(self.made.len()).unwrap_or(u32::MAX);
        let backend = self.make(BackendIx(ix), &id);
        self.made.push(backend);
        self.ids.insert(id, ix);
        BackendIx(ix)
    }

    fn make(&mut self, ix: BackendIx, id: &Id) -> Backend {
        let (name, port, route) = id;
        let tunables = self.tunables(name, route.as_ref());
        let plaintext = self
            .transport
            .get(name)
            .is_some_and(|t| t.mtls(*port) == MtlsMode::Disabled);
        let defined = self.service(name);
        let found = defined.ports.iter().find(|p| Some(p.number) == *port);
        let tls = match defined.tls {
            TlsMode::Mesh if plaintext => TlsMode::Plaintext,
            tls => tls,
        };
        let mut text = match port {
            Some(port) => format!("{name}:{port}"),
            None => name.to_string(),
        };
        if let Some(route) = route {
            text = format!("{text} by {route}");
        }
        Backend {
            ix,
            key: BackendKey {
                name: text.into(),
                protocol: found.map_or(AppProtocol::Http, |p| p.protocol),
                tls,
                identity: None,
            },
            service: name.clone(),
            port: *port,
            target_port: found.and_then(|p| p.target),
            subset: defined.subset.clone(),
            discovery: defined.discovery.clone(),
            balance: tunables.balance,
            ejection: tunables.ejection,
            ceilings: tunables.ceilings,
            budget: tunables.budget,
            hash_on: Arc::default(),
            locality: LocalityPolicy::default(),
            subset_fallback: SubsetFallback::None,
            breaker: None,
            hedge: None,
            health: None,
            connection: ConnectionPolicy::default().with_connect_timeout(tunables.connect_timeout),
            throttle: None,
        }
    }

    /// Mesh < namespace < service < route, per top-level field.
    fn tunables(&self, name: &ServiceName, route: Option<&ResourceId>) -> Tunables {
        let mut out = Tunables {
            balance: BalancePolicy::default(),
            ejection: EjectionPolicy::default(),
            ceilings: CeilingsPolicy::default(),
            budget: BudgetPolicy::default(),
            connect_timeout: defaults::CONNECT_TIMEOUT,
        };
        let of_route = route
            .map(|r| {
                self.attached
                    .at(Kind::BackendPolicy, Target::Route(r.clone()))
            })
            .unwrap_or_default();
        let chain = self.attached.for_service(Kind::BackendPolicy, name);
        for policy in chain.chain(of_route.iter().copied()) {
            if let Resource::BackendPolicy(policy) = policy {
                out.set(&policy.spec);
            }
        }
        out
    }

    /// The list, with positions as in the snapshot before where that had the backend; and the map
    /// from provisional positions to these.
    pub(super) fn finish(self, previous: Option<&Outbound>) -> (Vec<Arc<Backend>>, Vec<BackendIx>) {
        let count = self.made.len();
        let before = previous.map(Outbound::backends).unwrap_or_default();
        let known: HashMap<&str, usize> = before
            .iter()
            .enumerate()
            .map(|(ix, b)| (&**b.key.name(), ix))
            .collect();
        let mut slots: Vec<Option<usize>> = vec![None; count];
        let mut homeless = Vec::new();
        for (n, backend) in self.made.iter().enumerate() {
            match known.get(&**backend.key.name()) {
                // Within the new length, so that no position stays empty.
                Some(ix) if *ix < count => slots[*ix] = Some(n),
                _ => homeless.push(n),
            }
        }
        let mut homeless = homeless.into_iter();
        for slot in &mut slots {
            if slot.is_none() {
                *slot = homeless.next();
            }
        }
        let mut moved = vec![BackendIx(0); count];
        for (ix, n) in slots.iter().enumerate() {
            if let Some(n) = n {
                moved[*n] = BackendIx(u32::try_from(ix).unwrap_or(u32::MAX));
            }
        }
        let mut made: Vec<Option<Backend>> = self.made.into_iter().map(Some).collect();
        let mut list = Vec::with_capacity(count);
        for (ix, n) in slots.into_iter().enumerate() {
            let Some(mut backend) = n.and_then(|n| made[n].take()) else {
                continue;
            };
            backend.ix = BackendIx(u32::try_from(ix).unwrap_or(u32::MAX));
            list.push(match before.get(ix) {
                Some(old) if **old == backend => old.clone(),
                _ => Arc::new(backend),
            });
        }
        (list, moved)
    }
}

// === impl Tunables ===

impl Tunables {
    fn set(&mut self, spec: &BackendPolicySpec) {
        if let Some(s) = &spec.load_balancing {
            self.balance = balance(s);
        }
        if let Some(s) = &spec.outlier_detection {
            self.ejection = ejection(s);
        }
        if let Some(s) = &spec.ceilings {
            self.ceilings = ceilings(s);
        }
        if let Some(s) = &spec.retry_budget {
            self.budget = budget(s);
        }
        if let Some(timeout) = spec.connect_timeout {
            self.connect_timeout = timeout.get();
        }
    }
}

fn balance(s: &LoadBalancing) -> BalancePolicy {
    let d = BalancePolicy::default();
    d.with_algorithm(s.algorithm.unwrap_or(d.algorithm()))
        .with_decay(s.decay.map_or(d.decay(), Interval::get))
        .with_default_rtt(s.default_rtt.map_or(d.default_rtt(), Interval::get))
        .with_failure_penalty(s.failure_penalty.map_or(d.failure_penalty(), Interval::get))
        .with_panic_percent(s.panic_percent.unwrap_or(d.panic_percent()))
        .with_slow_start(s.slow_start.map_or(d.slow_start(), Interval::get))
}

fn ejection(s: &OutlierDetection) -> EjectionPolicy {
    let d = EjectionPolicy::default();
    let eject_for = s.eject_for.map_or(d.eject_for(), Interval::get);
    // "300 s, or the base if that is longer" (Envoy).
    let most = d.max_eject_for().max(eject_for);
    d.with_consecutive_errors(s.consecutive_errors.unwrap_or(d.consecutive_errors()))
        .with_failure_percent(s.failure_percent.unwrap_or(d.failure_percent()))
        .with_minimum_calls(s.minimum_calls.unwrap_or(d.minimum_calls()))
        .with_interval(s.interval.map_or(d.interval(), Interval::get))
        .with_eject_for(eject_for)
        .with_max_eject_for(s.max_eject_for.map_or(most, Interval::get))
        .with_max_ejected_percent(s.max_ejected_percent.unwrap_or(d.max_ejected_percent()))
}

fn ceilings(s: &Ceilings) -> CeilingsPolicy {
    let d = CeilingsPolicy::default();
    d.with_connections(s.max_connections.unwrap_or(d.connections()))
        .with_pending(s.max_pending_requests.unwrap_or(d.pending()))
        .with_requests(s.max_requests.unwrap_or(d.requests()))
        .with_retries(s.max_retries.unwrap_or(d.retries()))
}

fn budget(s: &RetryBudget) -> BudgetPolicy {
    let d = BudgetPolicy::default();
    d.with_percent(s.percent.unwrap_or(d.percent()))
        .with_interval(s.interval.map_or(d.interval(), Interval::get))
        .with_min_per_second(s.min_retries_per_second.unwrap_or(d.min_per_second()))
}

/// The values of every BackendPolicy, used or not.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for resource in index.resources.values() {
        if let Resource::BackendPolicy(policy) = &***resource {
            check_one(resource, &policy.spec, findings);
        }
    }
}

fn check_one(resource: &Resource, spec: &BackendPolicySpec, findings: &mut Findings) {
    let second = Duration::from_secs(1);
    let mut ranges = Ranges { resource, findings };
    let load = spec.load_balancing.clone().unwrap_or_default();
    let outlier = spec.outlier_detection.clone().unwrap_or_default();
    let ceilings = spec.ceilings.clone().unwrap_or_default();
    let budget = spec.retry_budget.clone().unwrap_or_default();
    ranges.percent("loadBalancing.panicPercent", load.panic_percent);
    ranges.positive("loadBalancing.decay", load.decay);
    ranges.positive("loadBalancing.defaultRtt", load.default_rtt);
    ranges.percent("outlierDetection.failurePercent", outlier.failure_percent);
    ranges.percent(
        "outlierDetection.maxEjectedPercent",
        outlier.max_ejected_percent,
    );
    ranges.positive("outlierDetection.interval", outlier.interval);
    ranges.positive("outlierDetection.ejectFor", outlier.eject_for);
    ranges.positive("outlierDetection.maxEjectFor", outlier.max_eject_for);
    ranges.at_least_one("outlierDetection.minimumCalls", outlier.minimum_calls);
    ranges.at_least_one("ceilings.maxConnections", ceilings.max_connections);
    ranges.at_least_one("ceilings.maxRequests", ceilings.max_requests);
    ranges.percent("retryBudget.percent", budget.percent);
    ranges.positive("connectTimeout", spec.connect_timeout);
    let bounds = second..=second * 60;
    if let Some(interval) = budget.interval
        && !bounds.contains(&interval.get())
    {
        let why = format!("{interval} is not in the range 1s to 60s");
        ranges.refuse("retryBudget.interval", &why);
    }
    if let (Some(base), Some(most)) = (outlier.eject_for, outlier.max_eject_for)
        && most < base
    {
        let why = format!("{most} is shorter than `ejectFor`, {base}");
        ranges.refuse("outlierDetection.maxEjectFor", &why);
    }
    if outlier.max_ejected_percent == Some(100) {
        findings
            .error(
                resource,
                "spec.outlierDetection.maxEjectedPercent",
                Code::POLICY_EJECTION_CAP,
                "a cap of 100 % can empty the pool",
            )
            .help(format!(
                "leave enough endpoints to carry the load; the default is {}",
                defaults::MAX_EJECTED_PERCENT
            ));
    }
    if let Some(n @ 1..=2) = outlier.consecutive_errors {
        findings
            .error(
                resource,
                "spec.outlierDetection.consecutiveErrors",
                Code::POLICY_EJECTION_EAGER,
                format!("{n} failures in a row are chance, not a broken endpoint"),
            )
            .help(format!(
                "use 3 or more (the default is {}), or 0 to switch the rule off",
                defaults::EJECT_CONSECUTIVE
            ));
    }
}

struct Ranges<'r, 'f> {
    resource: &'r Resource,
    findings: &'f mut Findings,
}

impl Ranges<'_, '_> {
    fn refuse(&mut self, field: &str, why: &str) {
        let path = format!("spec.{field}");
        self.findings
            .error(self.resource, path, Code::POLICY_RANGE, why);
    }

    fn percent(&mut self, field: &str, value: Option<u32>) {
        if let Some(n @ 101..) = value {
            self.refuse(field, &format!("{n} is not in the range 0 to 100"));
        }
    }

    fn at_least_one(&mut self, field: &str, value: Option<u32>) {
        if value == Some(0) {
            self.refuse(field, "0 would let nothing pass; use 1 or more");
        }
    }

    fn positive(&mut self, field: &str, value: Option<Interval>) {
        if value.is_some_and(|i| i.get().is_zero()) {
            self.refuse(field, "a duration of zero has no meaning here");
        }
    }
}
