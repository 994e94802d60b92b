//! Models: the decisions that threads take at once, run through every order of the threads' steps and every value that
//! a relaxed load may show (loom). `mesh-core/models` runs them; the code is the one that serves, only the atomics
//! beneath it are loom's (`crate::sync`).
//!
//! Each model says what must hold when all threads are done, or at any moment, and prints how many orders it went
//! through. Nearly every fault of this kind shows with two preemptions of a thread ("Iterative context bounding",
//! Musuvathi and Qadeer 2007), so the larger models stop at one to three.

mod breaker;
mod budget;
mod counters;
mod ejection;
mod gate;
mod probe;

use std::sync::Arc;
// Not loom's: it counts the runs, from outside of them.
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use loom::thread::{self, JoinHandle};

const SECOND: Duration = Duration::from_secs(1);

/// Runs `model` in every order.
fn every_order(name: &str, model: impl Fn(Instant) + Send + Sync + 'static) {
    explore(name, None, model);
}

/// Runs `model` in every order with at most so many preemptions.
fn orders(preemptions: usize, name: &str, model: impl Fn(Instant) + Send + Sync + 'static) {
    explore(name, Some(preemptions), model);
}

fn explore(
    name: &str,
    preemptions: Option<usize>,
    model: impl Fn(Instant) + Send + Sync + 'static,
) {
    let (runs, start) = (Arc::new(AtomicUsize::new(0)), Instant::now());
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 10_000;
    let counted = Arc::clone(&runs);
    builder.check(move || {
        counted.fetch_add(1, Relaxed);
        model(start);
    });
    let runs = runs.load(Relaxed);
    println!("{name}: {runs} orders in {:.1?}", start.elapsed());
    assert!(runs > 1, "{name}: nothing happened at once");
}

/// `work` on a thread of the model, with its share of `shared`.
fn beside<S, T>(shared: &Arc<S>, work: impl FnOnce(&Arc<S>) -> T + 'static) -> JoinHandle<T>
where
    S: 'static,
    T: 'static,
{
    let shared = Arc::clone(shared);
    thread::spawn(move || work(&shared))
}

fn join<T>(thread: JoinHandle<T>) -> T {
    match thread.join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
