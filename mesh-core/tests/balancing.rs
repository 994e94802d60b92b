//! What balancing alone does about an endpoint that fails fast or is slow, without ejection and
//! without retries: calls that overlap, on virtual time. The same seed gives the same run.

#![allow(clippy::print_stderr, reason = "the figures of the run")]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use mesh_core::balance::{Balancer, EndpointInfo, EndpointSet, InFlight, Outcome};
use mesh_core::policy::BalancePolicy;
use mesh_core::policy::model::Algorithm;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// How one endpoint answers.
#[derive(Clone, Copy)]
struct Does {
    latency: Duration,
    ok: bool,
}

/// Calls at 1,000 a second to ten endpoints of 10 ms, the first of which does something else.
struct Run {
    balancer: Balancer,
    set: EndpointSet,
    rng: fastrand::Rng,
    start: Instant,
    /// By the time they end: number and what to record.
    open: BinaryHeap<Reverse<(Duration, u32)>>,
    calls: Vec<Option<(usize, Duration, bool, InFlight)>>,
}

impl Run {
    fn new(algorithm: Algorithm, seed: u64) -> Self {
        let infos = (1..=10).map(|port| EndpointInfo::new(([10, 0, 0, 1], port).into()));
        Self {
            balancer: Balancer::new(&BalancePolicy::default().with_algorithm(algorithm)),
            set: EndpointSet::new(infos),
            rng: fastrand::Rng::with_seed(seed),
            start: Instant::now(),
            open: BinaryHeap::new(),
            calls: Vec::new(),
        }
    }

    fn end(&mut self, until: Duration) {
        while let Some(Reverse((at, call))) = self.open.peek().copied() {
            if at > until {
                return;
            }
            self.open.pop();
            if let Some((ix, took, ok, _in_flight)) = self.calls[call as usize].take() {
                let outcome = match ok {
                    true => Outcome::Success,
                    false => Outcome::Failure { retry_after: None },
                };
                self.balancer
                    .record(&self.set[ix], took, outcome, self.start + at);
            }
        }
    }

    /// Share of the calls from `from` to `to` that the first endpoint got, while it `does` that.
    fn share(&mut self, from: Duration, to: Duration, does: Does) -> f64 {
        let (mut first, mut all) = (0, 0);
        let mut at = from;
        while at < to {
            self.end(at);
            let now = self.start + at;
            let ix = self
                .balancer
                .pick(&self.set, now, &[], &mut self.rng)
                .unwrap();
            let healthy = Does {
                latency: 10 * MS,
                ok: true,
            };
            let Does { latency, ok } = if ix == 0 { does } else { healthy };
            // Half to one and a half times the latency.
            let latency = latency.mul_f64(0.5 + self.rng.f64());
            let call = self.calls.len() as u32;
            self.calls
                .push(Some((ix, latency, ok, self.set[ix].begin())));
            self.open.push(Reverse((at + latency, call)));
            all += 1;
            first += u32::from(ix == 0);
            at += MS;
        }
        f64::from(first) / f64::from(all)
    }
}

const HEALTHY: Does = Does {
    latency: Duration::from_millis(10),
    ok: true,
};

fn worst(shares: &[f64]) -> f64 {
    shares.iter().copied().fold(0.0, f64::max)
}

#[test]
fn one_of_ten_answering_503_in_a_millisecond_gets_under_two_percent_after_a_second() {
    let broken = Does {
        latency: MS,
        ok: false,
    };
    let (mut while_broken, mut after) = (Vec::new(), Vec::new());
    for seed in 0..25 {
        let mut run = Run::new(Algorithm::PeakEwma, seed);
        run.share(Duration::ZERO, 10 * SECOND, HEALTHY);
        // It breaks.
        run.share(10 * SECOND, 11 * SECOND, broken);
        while_broken.push(run.share(11 * SECOND, 40 * SECOND, broken));
        // It works again; a failure is forgotten in about a minute (5 s fade to 10 ms in 62 s).
        run.share(40 * SECOND, 110 * SECOND, HEALTHY);
        after.push(run.share(110 * SECOND, 130 * SECOND, HEALTHY));
    }
    eprintln!(
        "worst share while broken {:.3} %, least after it {:.1} %",
        worst(&while_broken) * 100.0,
        after.iter().copied().fold(1.0, f64::min) * 100.0
    );
    assert!(worst(&while_broken) < 0.02, "{while_broken:?}");
    assert!(
        after.iter().all(|share| (0.07..0.13).contains(share)),
        "{after:?}"
    );
}

#[test]
fn one_ten_times_slower_gets_under_three_percent_within_two_decays() {
    let slow = Does {
        latency: 100 * MS,
        ok: true,
    };
    let (mut while_slow, mut after) = (Vec::new(), Vec::new());
    for seed in 0..25 {
        let mut run = Run::new(Algorithm::PeakEwma, seed);
        run.share(Duration::ZERO, 10 * SECOND, HEALTHY);
        while_slow.push(run.share(10 * SECOND, 30 * SECOND, slow));
        while_slow.push(run.share(30 * SECOND, 60 * SECOND, slow));
        run.share(60 * SECOND, 100 * SECOND, HEALTHY);
        after.push(run.share(100 * SECOND, 120 * SECOND, HEALTHY));
    }
    eprintln!(
        "worst share while slow {:.2} %, least after it {:.1} %",
        worst(&while_slow) * 100.0,
        after.iter().copied().fold(1.0, f64::min) * 100.0
    );
    assert!(worst(&while_slow) < 0.03, "{while_slow:?}");
    assert!(
        after.iter().all(|share| (0.07..0.13).contains(share)),
        "{after:?}"
    );
}

#[test]
fn least_request_alone_is_fooled_by_the_one_that_fails_fast() {
    // What the penalty is there for: with calls in flight alone, quick to fail looks idle.
    let broken = Does {
        latency: MS,
        ok: false,
    };
    let mut run = Run::new(Algorithm::LeastRequest, 1);
    let share = run.share(Duration::ZERO, 20 * SECOND, broken);
    eprintln!("share under least request {:.1} %", share * 100.0);
    assert!(share > 0.10, "{share}");
}
