use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::adaptive::Limiter;
use super::queue::{Pushed, Queue};
use crate::context::Criticality;
use crate::policy::{ConcurrencyPolicy, QueuePolicy};
use crate::sync::atomic::{AtomicU32, Ordering::SeqCst};
use crate::sync::{Mutex, MutexGuard, in_one_order};

/// A limit on calls in work, and a short queue before it.
///
/// `W` is whatever waits: the owner is told through [`Gate::next`] whom to let in and whom to
/// refuse, and does so outside of the lock. After [`Gate::enter`] answered [`Entry::Waits`], and
/// after everything that answers `true` for "somebody may wait", `next` is to be called until it is
/// `None`.
#[derive(Debug)]
pub struct Gate<W> {
    limiter: Limiter,
    /// How many wait, to be read without the lock.
    waiting: AtomicU32,
    queue: Mutex<Waiters<W>>,
}

#[derive(Debug)]
struct Waiters<W> {
    policy: QueuePolicy,
    queue: Queue<W>,
    /// Who had to go for a more critical call.
    displaced: Vec<W>,
}

/// A place in work, given back by [`Gate::leave`]. Not `Clone`: a place is given back once.
#[derive(Debug)]
#[must_use = "a place that is not given back is lost"]
pub struct Slot(());

/// A place in the queue, given up by [`Gate::cancel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    level: Criticality,
    id: u64,
}

/// What came of a call.
#[derive(Debug)]
pub enum Entry {
    /// It is in work.
    Admitted(Slot),
    /// It waits until [`Gate::next`] says what becomes of it.
    Waits(Ticket),
    /// It is not taken.
    Refused(Refusal),
}

/// Why a call was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The limit is reached and there is no queue.
    Limit,
    /// The queue is full of calls that matter as much.
    Full,
    /// It waited for too long, or a more critical call took its place.
    Waited,
}

/// What is due to somebody who waits.
#[derive(Debug)]
pub enum Wake<W> {
    /// It is in work.
    Admit(W, Slot),
    /// It is refused.
    Refuse(W),
}

/// How a call ended, as far as the limit is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It was answered: its latency is a sample.
    Done,
    /// Overload ended it: a timeout, or a refusal further below.
    Dropped,
}

// === impl Gate ===

impl<W> Gate<W> {
    /// An open gate.
    pub fn new(concurrency: &ConcurrencyPolicy, queue: &QueuePolicy) -> Self {
        Self {
            limiter: Limiter::new(concurrency),
            waiting: AtomicU32::new(0),
            queue: Mutex::new(Waiters {
                policy: *queue,
                queue: Queue::new(),
                displaced: Vec::new(),
            }),
        }
    }

    /// Applies a changed policy: who is in work or waits stays so. Answers whether somebody may
    /// wait who can be let in now.
    pub fn update(&self, concurrency: &ConcurrencyPolicy, queue: &QueuePolicy) -> bool {
        self.limiter.update(concurrency);
        self.lock().policy = *queue;
        self.anyone_waits()
    }

    /// The limit now; `u32::MAX` for none.
    pub fn limit(&self) -> u32 {
        self.limiter.limit()
    }

    /// Calls in work.
    pub fn in_work(&self) -> u32 {
        self.limiter.in_work()
    }

    /// Calls that wait.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(SeqCst)
    }

    /// Lets a call in, or lets it wait. `waiter` is only made when it has to wait.
    pub fn enter(&self, now: Instant, level: Criticality, waiter: impl FnOnce() -> W) -> Entry {
        // Who comes while others wait goes through the queue, which knows whose turn it is.
        if !self.anyone_waits() && self.limiter.admit(level) {
            return Entry::Admitted(Slot(()));
        }
        self.limiter.hold_back();
        let mut waiters = self.lock();
        let policy = waiters.policy;
        if policy.size() == 0 {
            drop(waiters);
            // A queue that was just switched off may still have somebody in it.
            if self.limiter.admit(level) {
                return Entry::Admitted(Slot(()));
            }
            return Entry::Refused(Refusal::Limit);
        }
        let id = match waiters.queue.push(&policy, now, level, waiter()) {
            Pushed::Waits(id) => id,
            Pushed::InsteadOf(id, victim) => {
                waiters.displaced.push(victim);
                id
            }
            Pushed::Full(_) => return Entry::Refused(Refusal::Full),
        };
        self.count(&waiters);
        Entry::Waits(Ticket { level, id })
    }

    /// Who is next to be told something.
    pub fn next(&self, now: Instant) -> Option<Wake<W>> {
        let mut waiters = self.lock();
        let policy = waiters.policy;
        if let Some(victim) = waiters.displaced.pop() {
            self.count(&waiters);
            return Some(Wake::Refuse(victim));
        }
        let wake = match waiters.queue.expired(&policy, now) {
            Some(late) => Some(Wake::Refuse(late)),
            None => {
                let level = waiters.queue.peek()?;
                if !self.limiter.admit(level) {
                    return None;
                }
                match waiters.queue.pop(&policy, now) {
                    Some(waiter) => Some(Wake::Admit(waiter, Slot(()))),
                    None => {
                        self.limiter.leave();
                        None
                    }
                }
            }
        };
        self.count(&waiters);
        wake
    }

    /// The longest that a call may wait in any state.
    pub fn longest_wait(&self) -> Duration {
        self.lock().policy.interval()
    }

    /// A call does not wait any longer. `None` if it has already been told something. `late` says
    /// that it waited for too long, which is a sign of overload.
    pub fn cancel(&self, ticket: Ticket, late: bool) -> Option<W> {
        let mut waiters = self.lock();
        let waiter = waiters.queue.cancel(ticket.level, ticket.id);
        if late && waiter.is_some() {
            waiters.queue.shed();
        }
        self.count(&waiters);
        waiter
    }

    /// A call that is in work was answered after `rtt`. Answers whether somebody may wait who can
    /// be let in now.
    pub fn record(&self, rtt: Duration, outcome: Outcome) -> bool {
        self.limiter.record(rtt, outcome == Outcome::Dropped) && self.anyone_waits()
    }

    /// Gives a place back. Answers whether somebody may wait for it.
    pub fn leave(&self, slot: Slot) -> bool {
        let Slot(()) = slot;
        self.limiter.leave();
        self.anyone_waits()
    }

    fn anyone_waits(&self) -> bool {
        // Sequentially consistent, like the count of calls in work: who begins to wait and then
        // finds no place, and who gives a place back and then finds nobody waiting, cannot both be.
        in_one_order();
        self.waiting.load(SeqCst) > 0
    }

    fn count(&self, waiters: &Waiters<W>) {
        let waiting = waiters.queue.len() as usize + waiters.displaced.len();
        self.waiting
            .store(u32::try_from(waiting).unwrap_or(u32::MAX), SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, Waiters<W>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::ConcurrencyAlgorithm::{Fixed, Off};
    use Criticality::{Critical, CriticalPlus, Sheddable, SheddablePlus};

    fn gate(limit: u32, queue: u32) -> Gate<u32> {
        let concurrency = ConcurrencyPolicy::default()
            .with_algorithm(Fixed)
            .with_initial(limit);
        Gate::new(&concurrency, &QueuePolicy::default().with_size(queue))
    }

    fn admitted(entry: Entry) -> Slot {
        match entry {
            Entry::Admitted(slot) => slot,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_level_may_fill_its_share_of_the_limit() {
        let (gate, now) = (gate(10, 0), Instant::now());
        let fill = |level| {
            let mut n = 0;
            while matches!(gate.enter(now, level, || 0), Entry::Admitted(_)) {
                n += 1;
            }
            n
        };
        assert_eq!(fill(Sheddable), 6);
        assert_eq!(fill(SheddablePlus), 2);
        assert_eq!(fill(Critical), 2);
        assert_eq!(fill(CriticalPlus), 1);
    }

    #[test]
    fn who_waits_gets_the_place_that_is_given_back() {
        let (gate, now) = (gate(1, 2), Instant::now());
        let slot = admitted(gate.enter(now, Critical, || 0));
        assert!(matches!(gate.enter(now, Critical, || 1), Entry::Waits(_)));
        assert!(gate.next(now).is_none());
        assert!(gate.leave(slot));
        let Some(Wake::Admit(1, slot)) = gate.next(now) else {
            panic!("the place is free");
        };
        assert_eq!((gate.in_work(), gate.waiting()), (1, 0));
        assert!(!gate.leave(slot));
        assert_eq!(gate.in_work(), 0);
    }

    #[test]
    fn a_more_critical_call_displaces_one_that_waits() {
        let (gate, now) = (gate(1, 1), Instant::now());
        let _slot = admitted(gate.enter(now, Critical, || 0));
        assert!(matches!(gate.enter(now, Sheddable, || 1), Entry::Waits(_)));
        assert!(matches!(
            gate.enter(now, Sheddable, || 2),
            Entry::Refused(Refusal::Full)
        ));
        assert!(matches!(gate.enter(now, Critical, || 3), Entry::Waits(_)));
        assert!(matches!(gate.next(now), Some(Wake::Refuse(1))));
        assert!(gate.next(now).is_none());
        assert_eq!(gate.waiting(), 1);
    }

    #[test]
    fn without_a_queue_it_refuses_at_once() {
        let (gate, now) = (gate(1, 0), Instant::now());
        let _slot = admitted(gate.enter(now, Critical, || 0));
        assert!(matches!(
            gate.enter(now, Critical, || 1),
            Entry::Refused(Refusal::Limit)
        ));
    }

    #[test]
    fn switched_off_it_admits_everybody_and_still_counts() {
        let (gate, now) = (gate(1, 0), Instant::now());
        let _one = admitted(gate.enter(now, Critical, || 0));
        gate.update(
            &ConcurrencyPolicy::default().with_algorithm(Off),
            &QueuePolicy::default(),
        );
        let _two = admitted(gate.enter(now, Sheddable, || 0));
        assert_eq!(gate.in_work(), 2);
    }

    #[test]
    fn admission_takes_no_lock() {
        let (gate, now) = (gate(2, 5), Instant::now());
        let held = gate.lock();
        let (told, hears) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    let slot = admitted(gate.enter(now, Critical, || 0));
                    gate.record(Duration::from_millis(5), Outcome::Done);
                    gate.leave(slot);
                }
                told.send(()).ok();
            });
            let done = hears.recv_timeout(Duration::from_secs(60));
            drop(held);
            assert_eq!(done, Ok(()), "it waits for the queue's lock");
        });
    }

    #[test]
    fn a_higher_limit_lets_in_who_waits() {
        let (gate, now) = (gate(1, 5), Instant::now());
        let _slot = admitted(gate.enter(now, Critical, || 0));
        let Entry::Waits(ticket) = gate.enter(now, Critical, || 1) else {
            panic!("it waits");
        };
        let concurrency = ConcurrencyPolicy::default()
            .with_algorithm(Fixed)
            .with_initial(2);
        assert!(gate.update(&concurrency, &QueuePolicy::default()));
        assert!(matches!(gate.next(now), Some(Wake::Admit(1, _))));
        assert_eq!(gate.cancel(ticket, false), None, "it has been told");
    }
}
