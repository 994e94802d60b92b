//! The rules that compare the endpoints of a set at the end of an interval.

use std::time::Duration;

use super::EjectReason;
use super::window::Counts;
use crate::balance::EndpointSet;
use crate::policy::{EjectionPolicy, LatencyMode};
use crate::sync::atomic::Ordering::Relaxed;

/// One endpoint in rotation at the end of an interval.
pub(super) struct Host {
    pub(super) ix: usize,
    pub(super) counts: Counts,
    tail: Option<Duration>,
}

/// What a rule found.
pub(super) enum Finding {
    Eject { ix: usize, reason: EjectReason },
    Slow { ix: usize, factor_milli: u32 },
}

/// The endpoints in rotation, with what they did in the interval that ends with `slot`.
pub(super) fn hosts(set: &EndpointSet, slot: u64) -> Vec<Host> {
    let host = |(ix, endpoint): (usize, &std::sync::Arc<crate::balance::EndpointState>)| {
        let state = endpoint.ejection();
        state.is_available().then(|| Host {
            ix,
            counts: state.window.sum(slot),
            tail: state.tail(),
        })
    };
    set.iter().enumerate().filter_map(host).collect()
}

/// A50 `success_rate_ejection`: the mean of the rates of success, in thousandths, less the factor
/// times their standard deviation (of the whole population, as in Envoy).
pub(super) fn success_rate_threshold(rates: &[f64], stdev_milli: u32) -> f64 {
    let count = rates.len().max(1) as f64;
    let mean = rates.iter().sum::<f64>() / count;
    let variance = rates.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / count;
    mean - variance.sqrt() * f64::from(stdev_milli) / 1000.0
}

pub(super) fn by_success_rate(policy: &EjectionPolicy, hosts: &[Host]) -> Vec<Finding> {
    let volume = u64::from(policy.success_rate_volume()).max(1);
    let rate = |host: &Host| {
        let ok = host.counts.calls.saturating_sub(host.counts.failures);
        ok as f64 * 1000.0 / host.counts.calls as f64
    };
    let rated: Vec<_> = hosts
        .iter()
        .filter(|host| host.counts.calls >= volume)
        .map(|host| (host.ix, rate(host)))
        .collect();
    if !policy.success_rate() || rated.len() < policy.success_rate_minimum_hosts().max(1) as usize {
        return Vec::new();
    }
    let rates: Vec<_> = rated.iter().map(|(_, rate)| *rate).collect();
    let threshold = success_rate_threshold(&rates, policy.success_rate_stdev_milli());
    let outlier = |(ix, rate): (usize, f64)| {
        (rate < threshold).then_some(Finding::Eject {
            ix,
            reason: EjectReason::SuccessRate {
                milli: rate as u32,
                threshold_milli: threshold as u32,
            },
        })
    };
    rated.into_iter().filter_map(outlier).collect()
}

pub(super) fn by_failure_percentage(policy: &EjectionPolicy, hosts: &[Host]) -> Vec<Finding> {
    let threshold = policy.failure_percentage_threshold();
    let volume = u64::from(policy.failure_percentage_volume()).max(1);
    let judged: Vec<_> = hosts
        .iter()
        .filter(|host| host.counts.calls >= volume)
        .collect();
    let least = policy.failure_percentage_minimum_hosts().max(1) as usize;
    if threshold == 0 || judged.len() < least {
        return Vec::new();
    }
    let outlier = |host: &Host| {
        // Envoy's field comment: "greater than or equal"; its algorithm and A50 say "greater".
        host.counts.reaches(threshold).then(|| Finding::Eject {
            ix: host.ix,
            reason: EjectReason::FailurePercentage {
                percent: host.counts.percent(),
                calls: u32::try_from(host.counts.calls).unwrap_or(u32::MAX),
            },
        })
    };
    judged.into_iter().filter_map(outlier).collect()
}

/// Slow for several intervals against the median of the others. Counts the intervals at each
/// endpoint.
pub(super) fn by_latency(
    policy: &EjectionPolicy,
    set: &EndpointSet,
    hosts: &[Host],
) -> Vec<Finding> {
    let volume = u64::from(policy.latency_volume()).max(1);
    let mut tails: Vec<_> = hosts
        .iter()
        .filter(|host| host.counts.calls >= volume)
        .filter_map(|host| Some((host.tail?.as_micros() as f64, host.ix)))
        .collect();
    let enough = tails.len() >= policy.latency_minimum_hosts().max(2) as usize;
    if policy.latency() == LatencyMode::Off || !enough {
        set.iter().for_each(|endpoint| forget(endpoint.ejection()));
        return Vec::new();
    }
    tails.sort_by(|a, b| a.0.total_cmp(&b.0));
    let limit = f64::from(policy.latency_factor_milli());
    let mut found = Vec::new();
    for (at, (tail, ix)) in tails.iter().enumerate() {
        let Some(endpoint) = set.get(*ix) else {
            continue;
        };
        let state = endpoint.ejection();
        let factor_milli = tail * 1000.0 / median_but(&tails, at).max(1.0);
        if factor_milli <= limit {
            forget(state);
            continue;
        }
        let intervals = state.slow_intervals.fetch_add(1, Relaxed).saturating_add(1);
        if intervals < policy.latency_intervals().max(1) {
            continue;
        }
        let factor_milli = factor_milli.min(1e9) as u32;
        let told = state.slow_milli.swap(factor_milli, Relaxed);
        match policy.latency() {
            LatencyMode::Enforce => found.push(Finding::Eject {
                ix: *ix,
                reason: EjectReason::Latency { factor_milli },
            }),
            // Once, not at each interval for as long as it lasts.
            _ if told == 0 => found.push(Finding::Slow {
                ix: *ix,
                factor_milli,
            }),
            _ => {}
        }
    }
    found
}

/// Whether an endpoint that was ejected for its latency answers as slowly as then: more than the
/// factor times the median of those in rotation, which is more than the factor times most of them.
pub(super) fn still_slow(policy: &EjectionPolicy, set: &EndpointSet, ix: usize) -> bool {
    let own = set.get(ix).map(|endpoint| endpoint.ejection());
    let own = own.filter(|state| state.was_slow()).and_then(|s| s.tail());
    let Some(own) = own.filter(|_| policy.latency() == LatencyMode::Enforce) else {
        return false;
    };
    let limit = f64::from(policy.latency_factor_milli()) / 1000.0;
    let (mut peers, mut exceeded) = (0_usize, 0_usize);
    for (at, endpoint) in set.iter().enumerate() {
        let state = endpoint.ejection();
        let tail = state.tail().filter(|_| at != ix && state.is_available());
        peers += usize::from(tail.is_some());
        exceeded += usize::from(tail.is_some_and(|tail| own > tail.mul_f64(limit)));
    }
    2 * exceeded > peers
}

fn forget(state: &super::EjectionState) {
    state.slow_intervals.store(0, Relaxed);
    state.slow_milli.store(0, Relaxed);
}

/// The median of a sorted list without its entry `but`.
fn median_but(sorted: &[(f64, usize)], but: usize) -> f64 {
    let others = sorted.len().saturating_sub(1);
    let value = |rank: usize| {
        let at = if rank < but { rank } else { rank + 1 };
        sorted.get(at).map_or(0.0, |(value, _)| *value)
    };
    match others {
        0 => 0.0,
        n if n % 2 == 1 => value(n / 2),
        n => (value(n / 2 - 1) + value(n / 2)) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envoy_success_rate_threshold() {
        // Envoy, outlier_detection_impl_test: five hosts, one at 50 %: mean 90, threshold 52.
        let threshold = success_rate_threshold(&[500.0, 1000.0, 1000.0, 1000.0, 1000.0], 1900);
        assert!((threshold - 520.0).abs() < 1e-9, "{threshold}");
        let all_alike = success_rate_threshold(&[800.0; 5], 1900);
        assert!((all_alike - 800.0).abs() < 1e-9, "nobody is below the mean");
    }

    #[test]
    fn the_median_leaves_one_out() {
        let list = [(1.0, 0), (2.0, 1), (4.0, 2), (9.0, 3)];
        for (but, expected) in [(0, 4.0), (1, 4.0), (2, 2.0), (3, 2.0)] {
            assert!((median_but(&list, but) - expected).abs() < 1e-9, "{but}");
        }
        assert!((median_but(&list[..3], 2) - 1.5).abs() < 1e-9);
        assert!(median_but(&list[..1], 0) < 1e-9);
    }
}
