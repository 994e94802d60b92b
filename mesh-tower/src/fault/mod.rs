//! Faults that a policy makes on purpose: a call is delayed, or answered with an error.
//!
//! It is part of the route's slot, above retries, budgets, breakers and endpoints: none of them
//! learns of it, and none is blamed. The answer names the fault in `mesh-reason`
//! ([`M2020`](mesh_core::error::Code::FAULT_INJECTED)) and is counted like any answer of the callee,
//! since a rehearsal that dashboards do not show rehearses nothing. What the decision is made of is
//! [`mesh_core::fault`]'s.

mod answer;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use mesh_core::fault::{Injection, Injector};
use mesh_core::policy::model::Fault;
use mesh_core::telemetry::names;

pub(crate) use self::answer::{answer, direct};
use crate::context::CallContext;
use crate::runtime;
use crate::telemetry::{Counter, Recorder};

/// What the process remembers of its faults, over all changes of the policy: so a cap holds over
/// all routes that a fault is attached to, and a seeded run is not begun anew by an update.
pub(crate) struct Faults {
    recorder: Recorder,
    all: Mutex<HashMap<Arc<str>, Arc<Faulty>>>,
}

/// One fault of the process.
pub(crate) struct Faulty {
    injector: Injector,
    delays: Counter,
    aborts: Counter,
}

// === impl Faults ===

impl Faults {
    pub(crate) fn new(recorder: Recorder) -> Self {
        Self {
            recorder,
            all: Mutex::default(),
        }
    }

    /// Called when a view is built, never by a call.
    pub(crate) fn of(&self, name: &Arc<str>) -> Arc<Faulty> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(name.clone())
            .or_insert_with(|| Arc::new(Faulty::new(name, &self.recorder)))
            .clone()
    }

    /// Forgets the faults that no view refers to any more.
    pub(crate) fn sweep(&self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, faulty| Arc::strong_count(faulty) > 1);
    }
}

// === impl Faulty ===

impl Faulty {
    fn new(name: &str, recorder: &Recorder) -> Self {
        let counter = |reason| {
            recorder.counter(
                names::FAULTS,
                &[(names::FAULT, name), (names::REASON, reason)],
            )
        };
        Self {
            injector: Injector::default(),
            delays: counter("delay"),
            aborts: counter("abort"),
        }
    }

    /// What is done to a call with these headers; counted.
    pub(crate) fn decide(&self, fault: &Fault, headers: &http::HeaderMap) -> Option<Injection> {
        let mut rng = fastrand::Rng::new();
        let injection = self
            .injector
            .decide(fault, headers, runtime::wall(), &mut rng)?;
        if injection.delay().is_some() {
            self.delays.increment(1);
        }
        if injection.abort().is_some() {
            self.aborts.increment(1);
        }
        Some(injection)
    }
}

/// Waits as long as the fault says, within the call's deadline.
pub(crate) async fn wait(injection: &Injection, call: &CallContext) {
    let Some(delay) = injection.delay() else {
        return;
    };
    let left = call.remaining(call.now()).unwrap_or(delay);
    tokio::time::sleep(delay.min(left)).await;
    call.tick();
}
