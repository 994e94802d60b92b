use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::context::Criticality;
use crate::policy::QueuePolicy;

const LEVELS: usize = 4;

/// A bounded queue by criticality, with controlled delay (CoDel, in the form that Facebook gives
/// it in "Fail at Scale", ACM Queue 2015).
///
/// ```text
///            the oldest call waited more than `target` throughout an `interval`, or no room
///    calm ------------------------------------------------------------------> overloaded
///     ^    first come, first served                  newest first                  |
///     |    a wait may last `interval`                a wait may last `target`      |
///     +----------------------------------------------------------------------------+
///            nothing was shed, and nobody waited longer than `target`, for an `interval`
/// ```
///
/// The most critical call is served first in both states. Newest first, because the oldest call is
/// the one whose caller has most likely given up. Leaving takes a whole calm interval: at a low rate
/// a queue of `target` is often empty for a moment although the overload goes on.
#[derive(Debug)]
pub struct Queue<W> {
    levels: [VecDeque<Waiting<W>>; LEVELS],
    len: u32,
    next: u64,
    overloaded: bool,
    /// When the present interval ends, and the least age of the oldest call in it.
    until: Option<Instant>,
    least: Duration,
    /// Something was shed, or waited longer than the target, in the present interval.
    troubled: bool,
}

#[derive(Debug)]
struct Waiting<W> {
    id: u64,
    since: Instant,
    waiter: W,
}

/// What came of a call that wanted to wait.
#[derive(Debug)]
pub enum Pushed<W> {
    /// It waits, under this number.
    Waits(u64),
    /// It waits, and a less critical one had to go for it.
    InsteadOf(u64, W),
    /// There is no room for it.
    Full(W),
}

// === impl Queue ===

impl<W> Queue<W> {
    /// An empty queue.
    pub fn new() -> Self {
        Self {
            levels: Default::default(),
            len: 0,
            next: 0,
            overloaded: false,
            until: None,
            least: Duration::MAX,
            troubled: false,
        }
    }

    /// Calls that wait.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the newest call is served first now.
    pub fn is_overloaded(&self) -> bool {
        self.overloaded
    }

    /// Lets a call wait. Without room it takes the place of the oldest less critical one.
    pub fn push(
        &mut self,
        policy: &QueuePolicy,
        now: Instant,
        level: Criticality,
        waiter: W,
    ) -> Pushed<W> {
        self.observe(policy, now);
        let mut out = None;
        if self.len >= policy.size() {
            self.shed();
            self.overloaded = true;
            let lower = self.levels[..level as usize]
                .iter_mut()
                .find_map(VecDeque::pop_front);
            let Some(victim) = lower else {
                return Pushed::Full(waiter);
            };
            self.len -= 1;
            out = Some(victim.waiter);
        }
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        self.levels[level as usize].push_back(Waiting {
            id,
            since: now,
            waiter,
        });
        self.len += 1;
        match out {
            None => Pushed::Waits(id),
            Some(victim) => Pushed::InsteadOf(id, victim),
        }
    }

    /// Takes a call out that has waited too long, if there is one: the least critical first.
    pub fn expired(&mut self, policy: &QueuePolicy, now: Instant) -> Option<W> {
        self.observe(policy, now);
        let most = self.patience(policy);
        let waiting = self.levels.iter_mut().find_map(|level| {
            let oldest = level.front()?;
            let late = now.saturating_duration_since(oldest.since) > most;
            late.then(|| level.pop_front()).flatten()
        })?;
        self.len -= 1;
        self.shed();
        Some(waiting.waiter)
    }

    /// The level of the call that is next; `None` when nobody waits.
    pub fn peek(&self) -> Option<Criticality> {
        const BY_RANK: [Criticality; LEVELS] = [
            Criticality::CriticalPlus,
            Criticality::Critical,
            Criticality::SheddablePlus,
            Criticality::Sheddable,
        ];
        BY_RANK
            .into_iter()
            .find(|level| !self.levels[*level as usize].is_empty())
    }

    /// Takes the next call out: the most critical, and of those the newest under overload.
    pub fn pop(&mut self, policy: &QueuePolicy, now: Instant) -> Option<W> {
        self.observe(policy, now);
        let level = &mut self.levels[self.peek()? as usize];
        let waiting = if self.overloaded {
            level.pop_back()
        } else {
            level.pop_front()
        }?;
        self.len -= 1;
        Some(waiting.waiter)
    }

    /// Takes a call out that will not wait any longer, if it still waits.
    pub fn cancel(&mut self, level: Criticality, id: u64) -> Option<W> {
        let level = &mut self.levels[level as usize];
        let at = level.iter().position(|waiting| waiting.id == id)?;
        let waiting = level.remove(at)?;
        self.len -= 1;
        Some(waiting.waiter)
    }

    /// A waiting call was given up because it waited for too long.
    pub fn shed(&mut self) {
        self.troubled = true;
    }

    /// The longest wait that is borne now.
    pub fn patience(&self, policy: &QueuePolicy) -> Duration {
        if self.overloaded {
            policy.target()
        } else {
            policy.interval()
        }
    }

    fn observe(&mut self, policy: &QueuePolicy, now: Instant) {
        let oldest = self
            .levels
            .iter()
            .filter_map(VecDeque::front)
            .map(|waiting| now.saturating_duration_since(waiting.since))
            .max()
            .unwrap_or_default();
        self.least = self.least.min(oldest);
        self.troubled |= oldest > policy.target();
        let until = *self.until.get_or_insert(now + policy.interval());
        if now < until {
            return;
        }
        self.overloaded = self.least > policy.target() || (self.overloaded && self.troubled);
        // After a long silence there was nothing to see: the state of then means nothing now.
        if now.saturating_duration_since(until) > policy.interval() && oldest.is_zero() {
            self.overloaded = false;
        }
        self.until = Some(now + policy.interval());
        self.least = oldest;
        self.troubled = oldest > policy.target();
    }
}

impl<W> Default for Queue<W> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Criticality::{Critical, CriticalPlus, Sheddable, SheddablePlus};

    fn policy() -> QueuePolicy {
        QueuePolicy::default().with_size(3)
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn the_defaults_are_codels() {
        let policy = QueuePolicy::default();
        assert_eq!((policy.target(), policy.interval()), (ms(5), ms(100)));
        assert_eq!(policy.size(), 100);
    }

    #[test]
    fn in_calm_the_first_is_served_first_and_the_most_critical_before_all() {
        let (policy, now) = (policy().with_size(10), Instant::now());
        let mut queue = Queue::new();
        for (n, level) in [Sheddable, Critical, Critical, CriticalPlus, SheddablePlus]
            .into_iter()
            .enumerate()
        {
            assert!(matches!(
                queue.push(&policy, now, level, n),
                Pushed::Waits(_)
            ));
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop(&policy, now)).collect();
        assert_eq!(order, [3, 1, 2, 4, 0]);
    }

    #[test]
    fn without_room_the_oldest_of_the_least_critical_goes() {
        let (policy, now) = (policy(), Instant::now());
        let mut queue = Queue::new();
        for (n, level) in [Critical, Sheddable, Sheddable].into_iter().enumerate() {
            queue.push(&policy, now, level, n);
        }
        assert!(matches!(
            queue.push(&policy, now, Sheddable, 3),
            Pushed::Full(3)
        ));
        assert!(matches!(
            queue.push(&policy, now, Critical, 4),
            Pushed::InsteadOf(_, 1)
        ));
        assert!(matches!(
            queue.push(&policy, now, SheddablePlus, 5),
            Pushed::InsteadOf(_, 2)
        ));
        assert!(matches!(
            queue.push(&policy, now, SheddablePlus, 6),
            Pushed::Full(6)
        ));
        assert_eq!(queue.len(), 3);
    }

    #[test]
    fn a_standing_queue_turns_it_over_and_waits_become_short() {
        let policy = policy().with_size(100);
        let start = Instant::now();
        let mut queue = Queue::new();
        queue.push(&policy, start, Critical, 0);
        // One in, one out, but the oldest is always 10 ms old.
        let mut now = start;
        for n in 1..=21 {
            now = start + ms(10 * n);
            queue.push(&policy, now, Critical, n);
            assert_eq!(queue.is_overloaded(), n >= 20, "{n}");
            queue.pop(&policy, now);
        }
        assert!(queue.is_overloaded());
        assert_eq!(queue.patience(&policy), ms(5));
        queue.push(&policy, now, Critical, 98);
        queue.push(&policy, now, Critical, 99);
        assert_eq!(queue.pop(&policy, now), Some(99), "newest first");
    }

    #[test]
    fn who_waited_too_long_is_shed_the_least_critical_first() {
        let (policy, start) = (policy(), Instant::now());
        let mut queue = Queue::new();
        queue.push(&policy, start, Critical, 1);
        queue.push(&policy, start, Sheddable, 2);
        assert_eq!(queue.expired(&policy, start + ms(99)), None);
        assert_eq!(queue.expired(&policy, start + ms(101)), Some(2));
        assert_eq!(queue.expired(&policy, start + ms(101)), Some(1));
        assert_eq!(queue.expired(&policy, start + ms(101)), None);
        assert!(queue.is_empty());
    }

    #[test]
    fn it_is_calm_again_only_after_an_interval_without_trouble() {
        let (policy, start) = (policy(), Instant::now());
        let mut queue = Queue::new();
        for n in 0..4 {
            queue.push(&policy, start, Critical, n);
        }
        assert!(queue.is_overloaded(), "no room");
        while queue.pop(&policy, start + ms(1)).is_some() {}
        // The interval in which something was shed ends: still overloaded.
        queue.push(&policy, start + ms(110), Critical, 9);
        queue.pop(&policy, start + ms(111));
        assert!(queue.is_overloaded());
        queue.push(&policy, start + ms(220), Critical, 9);
        assert!(!queue.is_overloaded());
    }

    #[test]
    fn a_cancelled_call_leaves_its_place() {
        let (policy, now) = (policy(), Instant::now());
        let mut queue = Queue::new();
        let Pushed::Waits(id) = queue.push(&policy, now, Critical, 7) else {
            panic!("there is room");
        };
        assert_eq!(queue.cancel(Critical, id), Some(7));
        assert_eq!(queue.cancel(Critical, id), None);
        assert!(queue.is_empty() && queue.peek().is_none());
    }
}
