//! The four decisions that every attempt takes, set up once and repeatable: pick, budget, ejection record, route match.
//!
//! The micro benches time them and the allocation test counts what they allocate, over the same fixtures.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Method, Uri};
use mesh_core::balance::{Ask, Balancer, EndpointInfo, EndpointSet, Outcome, Place, Plan};
use mesh_core::breaker::Breaker;
use mesh_core::ejection::Detector;
use mesh_core::name::ServiceName;
use mesh_core::policy::model::{Algorithm, LocalityPolicy};
use mesh_core::policy::text::Source;
use mesh_core::policy::validate::Options;
use mesh_core::policy::{self, BalancePolicy, BreakerPolicy, BudgetPolicy, EjectionPolicy};
use mesh_core::retry::Budget;
use mesh_core::route::RouteTable;

/// Endpoints `10.0.x.y:8080`, each with one sample of latency.
#[must_use]
pub fn endpoints(count: u16, now: Instant) -> EndpointSet {
    let set = EndpointSet::new((0..count).map(|n| {
        let [high, low] = n.to_be_bytes();
        EndpointInfo {
            zone: Some(Arc::from(["a", "b", "c"][usize::from(n) % 3])),
            ..EndpointInfo::new(SocketAddr::from((Ipv4Addr::new(10, 0, high, low), 8080)))
        }
    }));
    for endpoint in set.endpoints().iter() {
        endpoint.record(Duration::from_millis(5), Outcome::Success, now);
    }
    set
}

/// A pick among `count` endpoints, with the tables that a live view has.
#[derive(Debug)]
pub struct Picking {
    balancer: Balancer,
    set: EndpointSet,
    rng: fastrand::Rng,
    now: Instant,
    key: u64,
}

impl Picking {
    /// Every algorithm by its name.
    pub const ALGORITHMS: [(&str, Algorithm); 7] = [
        ("peak ewma", Algorithm::PeakEwma),
        ("least request", Algorithm::LeastRequest),
        ("round robin", Algorithm::RoundRobin),
        ("random", Algorithm::Random),
        ("client weighted", Algorithm::ClientWeighted),
        ("ring hash", Algorithm::RingHash),
        ("maglev", Algorithm::Maglev),
    ];

    /// A set of `count` endpoints under the default policy.
    #[must_use]
    pub fn new(count: u16) -> Self {
        Self::by(count, &BalancePolicy::default(), &Place::default())
    }

    /// The same by another policy and from a place.
    #[must_use]
    pub fn by(count: u16, policy: &BalancePolicy, place: &Place) -> Self {
        let now = Instant::now();
        let set = endpoints(count, now);
        let plan = Plan {
            balance: policy,
            locality: &LocalityPolicy::default(),
            place,
        };
        Self {
            balancer: Balancer::prepared(&plan, &set, None, now),
            set,
            rng: fastrand::Rng::with_seed(7),
            now,
            key: 0,
        }
    }

    /// One pick, and the load that it puts on the endpoint for as long as the call lives.
    pub fn run(&mut self) -> Option<usize> {
        let mut ask = Ask::new(self.now);
        if self.balancer.goes_by_hash() {
            // Successive multiples of an odd number near the golden section lie far apart.
            self.key = self.key.wrapping_add(0x9e37_79b9_7f4a_7c15);
            ask = ask.with_hash(Some(self.key));
        }
        let pick = self.balancer.choose_for(&self.set, &ask, &mut self.rng)?;
        let endpoint = self.set.get(pick.index)?;
        let in_flight = endpoint.begin();
        self.now += Duration::from_micros(10);
        self.balancer.record(
            endpoint,
            Duration::from_millis(5),
            Outcome::Success,
            self.now,
        );
        drop(in_flight);
        Some(pick.index)
    }
}

/// A call's deposit and a retry's withdrawal.
#[derive(Debug)]
pub struct Budgeting {
    budget: Budget,
    now: Instant,
}

impl Budgeting {
    /// A budget by the default policy.
    #[must_use]
    pub fn new() -> Self {
        Self {
            budget: Budget::new(&BudgetPolicy::default()),
            now: Instant::now(),
        }
    }

    /// Five calls, of which one is retried.
    pub fn run(&mut self) -> bool {
        self.now += Duration::from_micros(100);
        for _ in 0..5 {
            self.budget.deposit(self.now);
        }
        self.budget.withdraw(self.now)
    }
}

impl Default for Budgeting {
    fn default() -> Self {
        Self::new()
    }
}

/// Records of outcomes at ten endpoints.
#[derive(Debug)]
pub struct Ejecting {
    detector: Detector,
    policy: EjectionPolicy,
    set: EndpointSet,
    now: Instant,
    calls: u32,
}

impl Ejecting {
    /// A detector by the default policy.
    #[must_use]
    pub fn new() -> Self {
        let now = Instant::now();
        Self {
            detector: Detector::new(),
            policy: EjectionPolicy::default(),
            set: endpoints(10, now),
            now,
            calls: 0,
        }
    }

    /// One outcome; the third endpoint fails every call that it gets, so it is ejected again and again.
    pub fn run(&mut self) -> bool {
        self.calls = self.calls.wrapping_add(1);
        self.now += Duration::from_millis(1);
        let index = self.calls as usize % self.set.len();
        self.detector
            .record(&self.policy, &self.set, index, index != 3, self.now)
            .is_some()
    }
}

impl Default for Ejecting {
    fn default() -> Self {
        Self::new()
    }
}

/// Calls through a breaker that is closed, opens and closes again.
#[derive(Debug)]
pub struct Breaking {
    breaker: Arc<Breaker>,
    now: Instant,
    calls: u32,
}

impl Breaking {
    /// A breaker by the default policy.
    #[must_use]
    pub fn new() -> Self {
        Self {
            breaker: Arc::new(Breaker::new(&BreakerPolicy::default())),
            now: Instant::now(),
            calls: 0,
        }
    }

    /// One call: three thousand good ones, then a thousand that fail. True when it passed.
    pub fn run(&mut self) -> bool {
        self.calls = self.calls.wrapping_add(1);
        self.now += Duration::from_millis(50);
        let failed = self.calls % 4_000 >= 3_000;
        match self.breaker.admit(self.now) {
            Ok(mut permit) => {
                permit.record(failed, Duration::from_millis(5), self.now);
                true
            }
            Err(_) => false,
        }
    }
}

impl Default for Breaking {
    fn default() -> Self {
        Self::new()
    }
}

/// A match among many routes.
#[derive(Debug)]
pub struct Matching {
    table: Arc<RouteTable>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Matching {
    /// `count` routes, half by exact path and half by prefix; the request meets one in the middle.
    ///
    /// # Panics
    ///
    /// Never: the request is a constant.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let mut text = String::from("service: shop/items\nroute:\n");
        for n in 0..count {
            let (kind, path) = if n % 2 == 0 {
                ("Exact", "items")
            } else {
                ("PathPrefix", "lists")
            };
            text +=
                &format!("- matches: [{{ path: {{ type: {kind}, value: /shop/{path}/{n} }} }}]\n");
        }
        let source = Source::new("bench.yaml", text);
        let checked = policy::check(&[source], &Options::partial());
        let snapshot = checked
            .snapshot
            .unwrap_or_else(|| panic!("{}", checked.rendered));
        let service = ServiceName::new("shop", "items").expect("a valid name");
        let table = snapshot
            .outbound()
            .service(&service)
            .expect("the service")
            .routes(None)
            .clone();
        let mut headers = HeaderMap::new();
        headers.insert("accept", HeaderValue::from_static("application/json"));
        Self {
            table,
            method: Method::GET,
            uri: format!("http://shop/shop/lists/{}/7?page=2", (count / 2) | 1)
                .parse()
                .expect("a valid address"),
            headers,
        }
    }

    /// One look-up.
    #[must_use]
    pub fn run(&self) -> bool {
        self.table
            .find(&self.method, &self.uri, &self.headers)
            .is_some()
    }
}
