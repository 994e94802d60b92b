use super::Latency;

/// What a host does with requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Behaviour {
    pub(super) latency: Latency,
    /// Probability of an answer that fails, 0 to 1.
    pub(super) fail: f64,
    pub(super) fail_status: u16,
    /// How long a failing answer takes; as long as a good one if `None`.
    pub(super) fail_latency: Option<Latency>,
    /// Connections are refused, and open ones broken.
    pub(super) down: bool,
    /// Requests are read and never answered.
    pub(super) hang: bool,
    /// Sent with failing answers and when there is no room, in seconds.
    pub(super) retry_after: Option<u32>,
    /// Requests worked on at a time; 0 for any number.
    pub(super) capacity: usize,
    /// Requests that wait for capacity; more are answered 503 at once.
    pub(super) queue: usize,
}

/// What happens at a moment of a scenario.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A host behaves differently from now on.
    Behave {
        /// `reviews#0`, or `reviews` for all hosts of the service.
        host: String,
        /// How.
        behaviour: Behaviour,
    },
    /// Everything behaves as at the start.
    Heal {
        /// `reviews#0`, or `reviews` for all hosts of the service.
        host: String,
    },
    /// Another policy is in force, for every process at once.
    Policy {
        /// Its text.
        text: String,
    },
    /// The rate of a load changes.
    Rate {
        /// Position of the load.
        load: usize,
        /// Calls a second.
        rate: f64,
    },
    /// Discovery adds or removes a host; what runs on it goes on.
    Discovered {
        /// `reviews#0`.
        host: String,
        /// Whether it is among the endpoints from now on.
        present: bool,
    },
}

// === impl Behaviour ===

impl Default for Behaviour {
    /// Answers 200 after 1 ms, with any number of requests at a time.
    fn default() -> Self {
        Self {
            latency: Latency::default(),
            fail: 0.0,
            fail_status: 503,
            fail_latency: None,
            down: false,
            hang: false,
            retry_after: None,
            capacity: 0,
            queue: 1024,
        }
    }
}

impl Behaviour {
    /// Refuses connections.
    pub fn down() -> Self {
        Self {
            down: true,
            ..Self::default()
        }
    }

    /// Takes requests and never answers.
    pub fn hanging() -> Self {
        Self {
            hang: true,
            ..Self::default()
        }
    }

    /// Answers `status` to `share` (0 to 1) of the requests, after 1 ms.
    pub fn failing(status: u16, share: f64) -> Self {
        Self::default().with_failures(status, share)
    }

    /// The same with `share` (0 to 1) of the requests answered `status`.
    #[must_use]
    pub fn with_failures(mut self, status: u16, share: f64) -> Self {
        (self.fail_status, self.fail) = (status, share.clamp(0.0, 1.0));
        self
    }

    /// The same with failing answers after another time than good ones.
    #[must_use]
    pub fn failing_in(mut self, latency: Latency) -> Self {
        self.fail_latency = Some(latency);
        self
    }

    /// The same with another latency.
    #[must_use]
    pub fn taking(mut self, latency: Latency) -> Self {
        self.latency = latency;
        self
    }

    /// The same with failing answers that say when to come again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The same with `at_once` requests worked on at a time and `queue` waiting; more are answered
    /// 503.
    #[must_use]
    pub fn holding(mut self, at_once: usize, queue: usize) -> Self {
        (self.capacity, self.queue) = (at_once, queue);
        self
    }
}

// === impl Change ===

impl Change {
    /// A host (`reviews#0`) or all of a service (`reviews`) behave differently.
    pub fn behave(host: &str, behaviour: Behaviour) -> Self {
        Self::Behave {
            host: host.to_owned(),
            behaviour,
        }
    }

    /// A host, or all of a service, behave as at the start.
    pub fn heal(host: &str) -> Self {
        Self::Heal {
            host: host.to_owned(),
        }
    }

    /// What the log says.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Behave { host, behaviour } => {
                let mut what = Vec::new();
                if behaviour.down {
                    what.push("refuses connections".to_owned());
                }
                if behaviour.hang {
                    what.push("never answers".to_owned());
                }
                if behaviour.fail > 0.0 {
                    let percent = behaviour.fail * 100.0;
                    what.push(format!("answers {} to {percent}%", behaviour.fail_status));
                }
                if what.is_empty() {
                    what.push("changes".to_owned());
                }
                format!("{host} {}", what.join(", "))
            }
            Self::Heal { host } => format!("{host} is as at the start"),
            Self::Policy { .. } => "another policy".to_owned(),
            Self::Rate { load, rate } => format!("load {load} at {rate}/s"),
            Self::Discovered { host, present } if *present => format!("{host} is discovered"),
            Self::Discovered { host, .. } => format!("{host} is gone from discovery"),
        }
    }
}
