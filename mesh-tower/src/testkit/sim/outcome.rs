use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::{Bound, RangeBounds};
use std::time::Duration;

use mesh_core::report::EndpointHealth;

use super::{Expect, Verdict};

/// What came of a run. All times count from its start.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub(super) name: String,
    pub(super) seed: u64,
    pub(super) log: String,
    pub(super) calls: Vec<Call>,
    pub(super) arrivals: Vec<Arrival>,
    pub(super) turns: Vec<Turn>,
    pub(super) expects: Vec<Expect>,
    /// What each process would say if it were scraped at the end.
    pub(super) metrics: String,
}

/// A call as its caller saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// When it began.
    pub at: Duration,
    /// Until its answer was read, or it failed.
    pub took: Duration,
    /// Position of the load that it belongs to.
    pub load: usize,
    /// The status, or the code of the mesh's error (`M2008`).
    pub end: String,
    /// A status below 500.
    pub good: bool,
}

/// A request at a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When it arrived.
    pub at: Duration,
    /// `reviews#0`.
    pub host: String,
}

/// An endpoint's state changed in the eyes of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// When it was seen, to 100 ms.
    pub at: Duration,
    /// The process.
    pub by: String,
    /// `reviews#0`.
    pub host: String,
    /// What it is now.
    pub now: EndpointHealth,
}

// === impl Outcome ===

impl Outcome {
    /// Every call, change and turn, a line each. The same scenario and seed give the same text,
    /// byte for byte.
    pub fn log(&self) -> &str {
        &self.log
    }

    /// The calls that began in a part of the run.
    pub fn calls(&self, within: impl RangeBounds<Duration>) -> impl Iterator<Item = &Call> {
        let within = bounds(&within);
        self.calls
            .iter()
            .filter(move |call| within.contains(&call.at))
    }

    /// The requests at a host (`reviews#0`) or at all of a service (`reviews`).
    pub fn arrivals(
        &self,
        at: &str,
        within: impl RangeBounds<Duration>,
    ) -> impl Iterator<Item = &Arrival> {
        let within = bounds(&within);
        self.arrivals
            .iter()
            .filter(move |arrival| within.contains(&arrival.at) && is_at(&arrival.host, at))
    }

    /// The turns of a host (`reviews#0`) or of all of a service (`reviews`).
    pub fn turns(&self, of: &str) -> impl Iterator<Item = &Turn> {
        self.turns.iter().filter(move |turn| is_at(&turn.host, of))
    }

    /// The share of calls that were good, 0 to 1; 1 without calls.
    pub fn success(&self, within: impl RangeBounds<Duration>) -> f64 {
        let (mut all, mut good) = (0_u64, 0_u64);
        for call in self.calls(within) {
            all += 1;
            good += u64::from(call.good);
        }
        share(good, all).unwrap_or(1.0)
    }

    /// A host's share of the requests at its service, 0 to 1; 0 without requests.
    pub fn share(&self, host: &str, within: impl RangeBounds<Duration>) -> f64 {
        let within = bounds(&within);
        let service = host.split_once('#').map_or(host, |(service, _)| service);
        let all = self.arrivals(service, within).count() as u64;
        let own = self.arrivals(host, within).count() as u64;
        share(own, all).unwrap_or(0.0)
    }

    /// Requests at a service for each call of the loads; 0 without calls.
    pub fn amplification(&self, service: &str, within: impl RangeBounds<Duration>) -> f64 {
        let within = bounds(&within);
        let arrived = self.arrivals(service, within).count() as u64;
        share(arrived, self.calls(within).count() as u64).unwrap_or(0.0)
    }

    /// A quantile (0 to 1) of the time that good calls took; zero without any.
    pub fn latency(&self, quantile: f64, within: impl RangeBounds<Duration>) -> Duration {
        let mut took: Vec<_> = self
            .calls(within)
            .filter(|call| call.good)
            .map(|call| call.took)
            .collect();
        took.sort_unstable();
        let rank = (took.len() as f64 * quantile.clamp(0.0, 1.0)).ceil() as usize;
        took.get(rank.saturating_sub(1))
            .copied()
            .unwrap_or_default()
    }

    /// The most hosts of a service that one process had out of rotation at a time.
    pub fn most_out(&self, service: &str) -> usize {
        self.most_out_within(service, ..)
    }

    /// The same in a part of the run.
    pub fn most_out_within(&self, service: &str, within: impl RangeBounds<Duration>) -> usize {
        let within = bounds(&within);
        let ended = |at: &Duration| match within.1 {
            Bound::Excluded(end) => *at >= end,
            Bound::Included(end) => *at > end,
            Bound::Unbounded => false,
        };
        let mut out: Vec<(&str, &str)> = Vec::new();
        let most_of = |out: &[(&str, &str)]| {
            let of = |by: &str| out.iter().filter(|(other, _)| *other == by).count();
            out.iter().map(|(by, _)| of(by)).max().unwrap_or(0)
        };
        // Who is out when the part begins counts too.
        let mut most = None;
        for turn in self.turns(service).take_while(|turn| !ended(&turn.at)) {
            if within.contains(&turn.at) && most.is_none() {
                most = Some(most_of(&out));
            }
            let key = (&*turn.by, &*turn.host);
            out.retain(|entry| *entry != key);
            if turn.now == EndpointHealth::Ejected {
                out.push(key);
            }
            most = most.map(|most| most.max(most_of(&out)));
        }
        most.unwrap_or_else(|| most_of(&out))
    }

    /// When a host was in rotation again, in every process, after it had been out: the last such
    /// moment of a part of the run. `None` when it never was, or is out at the end of the part.
    pub fn back(&self, host: &str, within: impl RangeBounds<Duration>) -> Option<Duration> {
        let mut out: Vec<&str> = Vec::new();
        let mut back = None;
        for turn in self.turns(host) {
            // Ejected, not reached or found unhealthy: it is not called.
            let is_out = turn.now != EndpointHealth::Available;
            let was_out = out.contains(&&*turn.by);
            out.retain(|by| *by != turn.by);
            if is_out {
                out.push(&turn.by);
                back = None;
            } else if was_out && out.is_empty() {
                back = Some(turn.at);
            }
        }
        back.filter(|at| within.contains(at))
    }

    /// A host's largest share of the requests at its service within one second, 0 to 1.
    pub fn peak(&self, host: &str, within: impl RangeBounds<Duration>) -> f64 {
        let within = bounds(&within);
        let service = host.split_once('#').map_or(host, |(service, _)| service);
        let mut seconds: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for arrival in self.arrivals(service, within) {
            let (own, all) = seconds.entry(arrival.at.as_secs()).or_default();
            *own += u64::from(is_at(&arrival.host, host));
            *all += 1;
        }
        let shares = seconds.values().filter_map(|(own, all)| share(*own, *all));
        shares.fold(0.0, f64::max)
    }

    /// A counter or gauge at the end, summed up over all processes; see [`Figure::Metric`](super::Figure).
    pub fn metric(&self, name: &str) -> f64 {
        let (name, labels) = name.split_once('{').unwrap_or((name, ""));
        let labels: Vec<&str> = labels.trim_end_matches('}').split(',').collect();
        let value = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            let (own, theirs) = series.split_once('{').unwrap_or((series, ""));
            let meant = own == name && labels.iter().all(|label| theirs.contains(label.trim()));
            meant.then(|| value.parse::<f64>().ok())?
        };
        self.metrics.lines().filter_map(value).sum()
    }

    /// What was expected, and what came of it.
    pub fn verdicts(&self) -> Vec<Verdict> {
        self.expects
            .iter()
            .map(|expect| expect.judge(self))
            .collect()
    }

    /// What was expected and did not come about.
    pub fn failed(&self) -> Vec<Verdict> {
        let mut verdicts = self.verdicts();
        verdicts.retain(|verdict| !verdict.holds);
        verdicts
    }

    /// The run in a few lines.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        let all = self.calls.len();
        let success = self.success(..) * 100.0;
        let (p50, p99) = (self.latency(0.5, ..), self.latency(0.99, ..));
        let _ = writeln!(
            text,
            "{} (seed {}): {all} calls, {success:.2}% good, p50 {p50:.1?}, p99 {p99:.1?}",
            self.name, self.seed
        );
        for verdict in self.verdicts() {
            let _ = writeln!(text, "  {verdict}");
        }
        text
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// `reviews#0` is at `reviews#0`, `reviews` and `shop/reviews`.
fn is_at(host: &str, at: &str) -> bool {
    let at = at.rsplit_once('/').map_or(at, |(_, name)| name);
    host == at
        || host
            .strip_prefix(at)
            .is_some_and(|rest| rest.starts_with('#'))
}

/// Any range of durations as one that can be copied.
fn bounds(range: &impl RangeBounds<Duration>) -> (Bound<Duration>, Bound<Duration>) {
    (range.start_bound().cloned(), range.end_bound().cloned())
}
