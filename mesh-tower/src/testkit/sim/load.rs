use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

/// Calls that come whether or not earlier ones have ended, as users do.
#[derive(Clone, Debug)]
pub struct Load {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) rate: f64,
    pub(super) arrivals: Arrivals,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) callers: usize,
    pub(super) zone: Option<String>,
    pub(super) between: (Duration, Option<Duration>),
    pub(super) most: usize,
}

/// When calls come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// One after a fixed time each.
    Paced,
    /// At random (Poisson), as independent users do.
    Random,
}

// === impl Load ===

impl Load {
    /// `rate` calls a second to a service, `GET /`, paced, from one process of the service `web`.
    pub fn new(to: &str, rate: f64) -> Self {
        Self {
            from: "web".to_owned(),
            to: to.to_owned(),
            rate,
            arrivals: Arrivals::Paced,
            method: Method::GET,
            path: "/".to_owned(),
            headers: Vec::new(),
            callers: 1,
            zone: None,
            between: (Duration::ZERO, None),
            most: 20_000,
        }
    }

    /// From processes of another service.
    #[must_use]
    pub fn from(mut self, service: &str) -> Self {
        service.clone_into(&mut self.from);
        self
    }

    /// Spread over `callers` processes, each with a mesh of its own.
    #[must_use]
    pub fn callers(mut self, callers: usize) -> Self {
        self.callers = callers.max(1);
        self
    }

    /// From callers in a zone.
    #[must_use]
    pub fn in_zone(mut self, zone: &str) -> Self {
        self.zone = Some(zone.to_owned());
        self
    }

    /// Calls come so.
    #[must_use]
    pub fn arriving(mut self, arrivals: Arrivals) -> Self {
        self.arrivals = arrivals;
        self
    }

    /// Another method and path.
    #[must_use]
    pub fn request(mut self, method: Method, path: &str) -> Self {
        self.method = method;
        path.clone_into(&mut self.path);
        self
    }

    /// A header on every call.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Only between two moments of the run.
    #[must_use]
    pub fn between(mut self, from: Duration, to: Duration) -> Self {
        self.between = (from, Some(to));
        self
    }

    /// The time until the next call.
    pub(super) fn gap(&self, rate: f64, rng: &mut fastrand::Rng) -> Duration {
        let mean = 1.0 / rate.max(1e-3);
        let seconds = match self.arrivals {
            Arrivals::Paced => mean,
            Arrivals::Random => -mean * (1.0 - rng.f64()).ln(),
        };
        Duration::try_from_secs_f64(seconds.min(3600.0)).unwrap_or_default()
    }
}
