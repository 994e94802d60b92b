//! One subject in one scenario: memory at rest, cost at saturation and at a fixed rate, memory with
//! many connections.

use std::io;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::cores;
use super::load;
use super::scenario::Scenario;
use super::subject::Running;

/// How long and how much.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Each of the two loads, after a warm-up.
    pub time: Duration,
    /// Calls a second of the fixed rate.
    pub rate: u32,
    /// Connections held for the second figure of memory.
    pub held: usize,
}

/// What one round saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Resident memory of one process before any load, MiB.
    pub idle: f64,
    /// Calls a second at saturation.
    pub throughput: f64,
    /// CPU of all its processes per call at saturation, microseconds.
    pub busy_cpu: f64,
    /// At the fixed rate, load and subject on a core each.
    pub apart: Paced,
    /// At the fixed rate, on whichever core the scheduler chooses.
    pub shared: Paced,
    /// Resident memory of the larger process with the connections held, MiB.
    pub held: f64,
}

/// What the fixed rate costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Paced {
    /// CPU of all its processes per call, microseconds.
    pub cpu: f64,
    /// Median latency, milliseconds.
    pub p50: f64,
    /// 99th percentile of the latency, milliseconds.
    pub p99: f64,
}

/// Measures a subject that was just started.
///
/// # Errors
///
/// When a call fails, or a process ends.
pub fn measure(running: &Running, scenario: Scenario, terms: Terms) -> io::Result<Figures> {
    let (traffic, addr) = (scenario.traffic(), running.addr);
    // The first call opens what is opened once.
    load::held(traffic, addr, 1, || Ok(()))?;
    let idle = largest(running)?;
    let (throughput, busy_cpu) = load::closed(traffic, addr, |done| {
        thread::sleep(terms.time / 4);
        let (began, calls, cpu) = (Instant::now(), done.load(Ordering::Relaxed), cpu(running)?);
        thread::sleep(terms.time);
        let calls = done.load(Ordering::Relaxed) - calls;
        let cpu = self::cpu(running)?.saturating_sub(cpu);
        Ok((
            calls as f64 / began.elapsed().as_secs_f64(),
            per_call(cpu, calls)?,
        ))
    })?;
    let apart = paced(running, scenario, terms)?;
    let shared = {
        let _shared = cores::share(&running.processes)?;
        paced(running, scenario, terms)?
    };
    let held = load::held(traffic, addr, terms.held, || largest(running))?;
    Ok(Figures {
        idle,
        throughput,
        busy_cpu,
        apart,
        shared,
        held,
    })
}

/// The fixed rate, after a warm-up.
fn paced(running: &Running, scenario: Scenario, terms: Terms) -> io::Result<Paced> {
    let (traffic, addr) = (scenario.traffic(), running.addr);
    load::paced(traffic, addr, terms.rate, terms.time / 4)?;
    let before = cpu(running)?;
    let seen = load::paced(traffic, addr, terms.rate, terms.time)?;
    let cpu = cpu(running)?.saturating_sub(before);
    let ms = |nanos: u64| nanos as f64 / 1e6;
    Ok(Paced {
        cpu: per_call(cpu, seen.len())?,
        p50: ms(seen.value_at_quantile(0.5)),
        p99: ms(seen.value_at_quantile(0.99)),
    })
}

/// Load alone, for a profiler beside it: what was called and what it cost, in words.
///
/// # Errors
///
/// When a call fails, or a process ends.
pub fn hold(
    running: &Running,
    scenario: Scenario,
    rate: Option<u32>,
    time: Duration,
    share: bool,
) -> io::Result<String> {
    let (traffic, addr) = (scenario.traffic(), running.addr);
    let _shared = share
        .then(|| cores::share(&running.processes))
        .transpose()?;
    let before = cpu(running)?;
    let calls = match rate {
        Some(rate) => load::paced(traffic, addr, rate, time)?.len(),
        None => load::closed(traffic, addr, |done| {
            thread::sleep(time);
            Ok(done.load(Ordering::Relaxed))
        })?,
    };
    let cpu = cpu(running)?.saturating_sub(before);
    Ok(format!(
        "{calls} calls, {:.1} us each",
        per_call(cpu, calls)?
    ))
}

/// The median of each figure over `rounds`.
///
/// # Panics
///
/// When there is no round.
#[must_use]
pub fn median(rounds: &[Figures]) -> Figures {
    let of = |one: fn(&Figures) -> f64| {
        let mut values: Vec<_> = rounds.iter().map(one).collect();
        crate::cpu::median(&mut values)
    };
    Figures {
        idle: of(|one| one.idle),
        throughput: of(|one| one.throughput),
        busy_cpu: of(|one| one.busy_cpu),
        apart: Paced {
            cpu: of(|one| one.apart.cpu),
            p50: of(|one| one.apart.p50),
            p99: of(|one| one.apart.p99),
        },
        shared: Paced {
            cpu: of(|one| one.shared.cpu),
            p50: of(|one| one.shared.p50),
            p99: of(|one| one.shared.p99),
        },
        held: of(|one| one.held),
    }
}

fn cpu(running: &Running) -> io::Result<Duration> {
    running
        .processes
        .iter()
        .map(super::process::Process::cpu)
        .sum()
}

fn largest(running: &Running) -> io::Result<f64> {
    running
        .processes
        .iter()
        .map(super::process::Process::resident)
        .try_fold(0.0, |most, one| Ok(f64::max(most, one?)))
}

fn per_call(cpu: Duration, calls: u64) -> io::Result<f64> {
    if calls == 0 {
        return Err(io::Error::other("no call was answered"));
    }
    Ok(cpu.as_secs_f64() * 1e6 / calls as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_taken_of_each_figure_by_itself() {
        let one = |busy_cpu, p99| Figures {
            idle: 1.0,
            throughput: 1.0,
            busy_cpu,
            apart: Paced {
                cpu: 1.0,
                p50: 1.0,
                p99,
            },
            shared: Paced {
                cpu: p99,
                p50: 1.0,
                p99: 1.0,
            },
            held: 1.0,
        };
        let median = median(&[one(1.0, 9.0), one(2.0, 7.0), one(30.0, 8.0)]);
        let seen = (median.busy_cpu, median.apart.p99, median.shared.cpu);
        assert_eq!(seen, (2.0, 8.0, 8.0));
    }

    #[test]
    fn a_cost_without_calls_is_an_error() {
        assert!(per_call(Duration::from_secs(1), 0).is_err());
        assert_eq!(per_call(Duration::from_millis(1), 100).unwrap(), 10.0);
    }
}
