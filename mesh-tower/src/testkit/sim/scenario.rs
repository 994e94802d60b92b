use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::{Behaviour, Change, Expect, Load, Outcome, run};

/// Services, load, what happens when, and what must come of it. See the [module](super).
#[derive(Clone, Debug)]
pub struct Scenario {
    pub(super) name: String,
    pub(super) seed: u64,
    pub(super) lasting: Duration,
    pub(super) policy: String,
    pub(super) services: Vec<Service>,
    pub(super) loads: Vec<Load>,
    pub(super) changes: Vec<(Duration, Change)>,
    pub(super) expects: Vec<Expect>,
    pub(super) across_zones: Duration,
}

/// A service and its hosts, which are called `reviews#0`, `reviews#1` and so on.
#[derive(Clone, Debug)]
pub struct Service {
    pub(super) name: String,
    pub(super) hosts: Vec<HostSpec>,
    pub(super) calls: Vec<String>,
    pub(super) mesh: bool,
}

/// One host as it is at the start.
#[derive(Clone, Debug, Default)]
pub(super) struct HostSpec {
    pub(super) behaviour: Behaviour,
    pub(super) zone: Option<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) weight: Option<u32>,
    pub(super) priority: u32,
}

/// Why a scenario could not be run: what is wrong, where, and what to do about it.
#[derive(Debug)]
pub struct SimError {
    message: String,
    /// The field.
    path: String,
    next: String,
    /// Line, column and length in the text, and the line itself.
    place: Option<(u32, u32, u32, String)>,
}

// === impl Scenario ===

impl Scenario {
    /// A scenario of 30 s without services, load and policy, on seed 1.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            seed: 1,
            lasting: Duration::from_secs(30),
            policy: String::new(),
            services: Vec::new(),
            loads: Vec::new(),
            changes: Vec::new(),
            expects: Vec::new(),
            across_zones: Duration::from_millis(2),
        }
    }

    /// Another seed: other dice, hence another run of the same scenario.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How long load comes. Calls in flight then are waited for.
    #[must_use]
    pub fn lasting(mut self, time: Duration) -> Self {
        self.lasting = time;
        self
    }

    /// The policy of all processes, in the long or the short form. Services that it does not define
    /// are there with the defaults.
    #[must_use]
    pub fn policy(mut self, text: &str) -> Self {
        text.clone_into(&mut self.policy);
        self
    }

    /// A service.
    #[must_use]
    pub fn service(mut self, service: Service) -> Self {
        self.services.push(service);
        self
    }

    /// A load.
    #[must_use]
    pub fn load(mut self, load: Load) -> Self {
        self.loads.push(load);
        self
    }

    /// Something happens `at` a moment of the run.
    #[must_use]
    pub fn at(mut self, at: Duration, change: Change) -> Self {
        self.changes.push((at, change));
        self
    }

    /// Something must hold: see [`Outcome::failed`].
    #[must_use]
    pub fn expect(mut self, expect: Expect) -> Self {
        self.expects.push(expect);
        self
    }

    /// What a request between two zones takes longer. 2 ms unless said.
    #[must_use]
    pub fn across_zones(mut self, time: Duration) -> Self {
        self.across_zones = time;
        self
    }

    /// The seed that it runs on.
    pub fn seed_in_use(&self) -> u64 {
        self.seed
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs it, on a thread and a clock of its own.
    ///
    /// # Errors
    /// When the policy is not valid, or a change or a load names what is not there.
    pub fn run(&self) -> Result<Outcome, SimError> {
        std::thread::scope(|scope| {
            let run = std::thread::Builder::new().name("simulation".to_owned());
            let run = run
                .spawn_scoped(scope, || run::run(self))
                .map_err(|error| SimError::new(format!("no thread to run on: {error}")))?;
            run.join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

// === impl Service ===

impl Service {
    /// A service with `hosts` equal hosts that answer 200 after 1 ms.
    pub fn new(name: &str, hosts: usize) -> Self {
        Self {
            name: name.to_owned(),
            hosts: vec![HostSpec::default(); hosts],
            calls: Vec::new(),
            mesh: false,
        }
    }

    /// All its hosts behave so.
    #[must_use]
    pub fn behaving(mut self, behaviour: Behaviour) -> Self {
        for host in &mut self.hosts {
            host.behaviour = behaviour.clone();
        }
        self
    }

    /// One host behaves so.
    #[must_use]
    pub fn host_behaving(mut self, host: usize, behaviour: Behaviour) -> Self {
        if let Some(host) = self.hosts.get_mut(host) {
            host.behaviour = behaviour;
        }
        self
    }

    /// Its hosts are spread over zones, in turn.
    #[must_use]
    pub fn in_zones(mut self, zones: &[&str]) -> Self {
        for (host, zone) in self.hosts.iter_mut().zip(zones.iter().cycle()) {
            host.zone = Some((*zone).to_owned());
        }
        self
    }

    /// One host has a label.
    #[must_use]
    pub fn labelled(mut self, host: usize, key: &str, value: &str) -> Self {
        if let Some(host) = self.hosts.get_mut(host) {
            host.labels.insert(key.to_owned(), value.to_owned());
        }
        self
    }

    /// One host has a weight.
    #[must_use]
    pub fn weighing(mut self, host: usize, weight: u32) -> Self {
        if let Some(host) = self.hosts.get_mut(host) {
            host.weight = Some(weight);
        }
        self
    }

    /// One host has a priority: those of a higher number take calls when those before them fail.
    #[must_use]
    pub fn prioritised(mut self, host: usize, priority: u32) -> Self {
        if let Some(host) = self.hosts.get_mut(host) {
            host.priority = priority;
        }
        self
    }

    /// Its handlers call another service, through the mesh, before they answer; what fails there
    /// fails here with 502. Such a service has the mesh's server stack in front.
    #[must_use]
    pub fn calling(mut self, service: &str) -> Self {
        self.calls.push(service.to_owned());
        self.mesh = true;
        self
    }

    /// It has the mesh's server stack in front: access, limits, deadlines.
    #[must_use]
    pub fn in_mesh(mut self) -> Self {
        self.mesh = true;
        self
    }
}

// === impl SimError ===

impl SimError {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self {
            message: text.into(),
            path: String::new(),
            next: String::new(),
            place: None,
        }
    }

    /// Of a field, `load[1].rate`.
    pub(super) fn at(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            ..Self::new(message)
        }
    }

    /// What to do about it.
    pub(super) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = next.into();
        self
    }

    /// With where the field is in the text of the scenario.
    pub(super) fn placed(mut self, text: &str) -> Self {
        let found = mesh_core::policy::text::place(text, &self.path);
        if let (false, Some(pos)) = (self.path.is_empty(), found) {
            self.place_at(text, pos.line, pos.column, pos.len);
        }
        self
    }

    pub(super) fn place_at(&mut self, text: &str, line: u32, column: u32, len: u32) {
        let shown = text.lines().nth(line.saturating_sub(1) as usize);
        let shown: String = shown.unwrap_or_default().chars().take(120).collect();
        self.place = Some((line, column, len, shown));
    }
}

impl fmt::Display for SimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match (&self.place, &*self.path) {
            (None, "") => {}
            (None, path) => write!(f, "\n  --> {path}")?,
            (Some((line, column, len, shown)), path) => {
                write!(f, "\n  --> line {line}, column {column}")?;
                if !path.is_empty() {
                    write!(f, " ({path})")?;
                }
                let (width, before) = (line.to_string().len(), *column as usize - 1);
                // What goes over several lines is pointed at by its beginning.
                let room = shown.chars().count().saturating_sub(before).max(1);
                let marks = "^".repeat((*len as usize).clamp(1, room));
                let (bar, gap) = (" ".repeat(width), " ".repeat(before));
                write!(f, "\n {bar} |\n {line} | {shown}\n {bar} | {gap}{marks}")?;
            }
        }
        if !self.next.is_empty() {
            write!(f, "\n  = {}", self.next)?;
        }
        Ok(())
    }
}

impl std::error::Error for SimError {}
