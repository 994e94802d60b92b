use std::time::Duration;

use super::over;
use crate::error::Code;
use crate::policy::defaults;
use crate::policy::model::{Algorithm, BalancePolicy, LocalityPolicy};
use crate::policy::spec::{Interval, LoadBalancing, Locality, Ratio};
use crate::policy::validate::hash;
use crate::policy::validate::ranges::Ranges;

/// Most places of a ring (A42, Envoy) and of a Maglev table (Envoy).
const RING: u32 = 8 << 20;
const TABLE: u32 = 5_000_011;

fn hashes(s: &LoadBalancing) -> bool {
    matches!(s.algorithm, Some(Algorithm::RingHash | Algorithm::Maglev))
}

pub(super) fn policy(s: &LoadBalancing) -> BalancePolicy {
    let orca = s.orca.clone().unwrap_or_default();
    // An own subset takes the place of the arc; and a hash needs all endpoints, or a key would go
    // elsewhere from each client.
    let whole = hashes(s) || s.subset_size.is_some_and(|n| n > 0);
    let above = s.aperture_above.or(whole.then_some(0));
    // A limit of one end moves the default of the other along.
    let max_ring = s
        .max_ring_size
        .or_else(|| s.min_ring_size.map(|n| n.max(defaults::MAX_RING_SIZE)));
    let min_ring = s
        .min_ring_size
        .or_else(|| s.max_ring_size.map(|n| n.min(defaults::MIN_RING_SIZE)));
    over!(BalancePolicy::default();
        with_algorithm: s.algorithm,
        with_decay: s.decay.map(Interval::get),
        with_default_rtt: s.default_rtt.map(Interval::get),
        with_failure_penalty: s.failure_penalty.map(Interval::get),
        with_panic_percent: s.panic_percent,
        with_fail_on_panic: s.fail_on_panic,
        with_slow_start: s.slow_start.map(Interval::get),
        with_slow_start_min_percent: s.slow_start_min_percent,
        with_slow_start_aggression_milli: s.slow_start_aggression.map(Ratio::milli),
        with_choices: s.choices,
        with_request_bias_milli: s.request_bias.map(Ratio::milli),
        with_min_ring_size: min_ring,
        with_max_ring_size: max_ring,
        with_maglev_table_size: s.maglev_table_size,
        with_bounded_load_percent: s.bounded_load_percent,
        with_orca_blackout: orca.blackout.map(Interval::get),
        with_orca_expiration: orca.expiration.map(Interval::get),
        with_orca_period: orca.period.map(Interval::get),
        with_orca_error_penalty_milli: orca.error_penalty.map(Ratio::milli),
        with_aperture_above: above,
        with_aperture_min: s.aperture_min,
        with_subset_size: s.subset_size,
    )
}

pub(super) fn locality(s: &Locality) -> LocalityPolicy {
    over!(LocalityPolicy::default();
        with_overprovisioning_percent: s.overprovisioning_percent,
        with_zone_aware_min_endpoints: s.zone_aware_min_endpoints,
        with_zone_routing_percent: s.zone_routing_percent,
        with_failover: s.failover,
    )
}

pub(super) fn check(ranges: &mut Ranges<'_, '_>, s: &LoadBalancing) {
    let at = |field: &str| format!("loadBalancing.{field}");
    ranges.percent(&at("panicPercent"), s.panic_percent);
    ranges.positive(&at("decay"), s.decay);
    ranges.positive(&at("defaultRtt"), s.default_rtt);
    ranges.number(
        &at("slowStartMinPercent"),
        s.slow_start_min_percent,
        1..=100,
    );
    ranges.ratio(
        &at("slowStartAggression"),
        s.slow_start_aggression,
        1..=10_000,
    );
    ranges.number(&at("choices"), s.choices, 2..=10);
    ranges.ratio(&at("requestBias"), s.request_bias, 0..=10_000);
    ranges.number(&at("minRingSize"), s.min_ring_size, 1..=RING);
    ranges.number(&at("maxRingSize"), s.max_ring_size, 1..=RING);
    if let (Some(min), Some(max)) = (s.min_ring_size, s.max_ring_size) {
        ranges.ordered((&at("minRingSize"), min), (&at("maxRingSize"), max));
    }
    ranges.number(&at("maglevTableSize"), s.maglev_table_size, 2..=TABLE);
    if let Some(size @ 2..=TABLE) = s.maglev_table_size
        && !is_prime(size)
    {
        let next = (size..=TABLE).find(|n| is_prime(*n)).unwrap_or(TABLE);
        let why = format!("{size} is no prime: some places would never be filled");
        ranges
            .refuse(&at("maglevTableSize"), why)
            .help(format!("use {next}"));
    }
    if let Some(bound @ (1..=99 | 10_001..)) = s.bounded_load_percent {
        let why = format!("{bound} is neither 0 (off) nor in the range 100 to 10000");
        ranges.refuse(&at("boundedLoadPercent"), why);
    }
    let orca = s.orca.clone().unwrap_or_default();
    ranges.at_least(&at("orca.period"), orca.period, Duration::from_millis(100));
    ranges.positive(&at("orca.expiration"), orca.expiration);
    ranges.at_least_one(&at("apertureMin"), s.aperture_min);
    let (arc, own) = (
        s.aperture_above.is_some_and(|n| n > 0),
        s.subset_size.is_some_and(|n| n > 0),
    );
    if arc && own {
        let why = "`apertureAbove` and `subsetSize` are two ways to say one thing";
        ranges.refuse(&at("subsetSize"), why);
    }
    if hashes(s) && (arc || own) {
        let field = if own { "subsetSize" } else { "apertureAbove" };
        let why = "each client would hash over endpoints of its own, and send a key elsewhere";
        ranges
            .refuse(&at(field), why)
            .help("take it out: a hash uses all endpoints");
    }
    hash::check(ranges, &at("hashOn"), &s.hash_on);
    if hashes(s) && s.hash_on.is_empty() {
        let why = "field `hashOn` is missing: a hash of what?";
        let finding = ranges.note(&at("hashOn"), Code::POLICY_MISSING_FIELD, why);
        finding.help("such as hashOn: [{ header: x-user }]");
    }
    if !hashes(s) {
        let bound = s.bounded_load_percent.is_some_and(|n| n > 0);
        for (field, given) in [
            ("hashOn", !s.hash_on.is_empty()),
            ("boundedLoadPercent", bound),
        ] {
            if given {
                let why =
                    format!("`{field}` has no effect without the algorithm RingHash or Maglev");
                ranges.warn(&at(field), Code::POLICY_UNUSED, why);
            }
        }
    }
}

pub(super) fn check_locality(ranges: &mut Ranges<'_, '_>, s: &Locality) {
    let at = |field: &str| format!("locality.{field}");
    let over = s.overprovisioning_percent;
    ranges.number(&at("overprovisioningPercent"), over, 100..=1000);
    ranges.percent(&at("zoneRoutingPercent"), s.zone_routing_percent);
}

fn is_prime(n: u32) -> bool {
    n >= 2
        && (2..)
            .take_while(|d| d * d <= n)
            .all(|d| !n.is_multiple_of(d))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_has_no_arc_and_ring_sizes_move_along() {
        let ring = LoadBalancing {
            algorithm: Some(Algorithm::RingHash),
            min_ring_size: Some(100_000),
            ..LoadBalancing::default()
        };
        let policy = policy(&ring);
        assert_eq!(policy.aperture_above(), 0);
        assert_eq!(
            (policy.min_ring_size(), policy.max_ring_size()),
            (100_000, 100_000)
        );
        assert_eq!(BalancePolicy::default().aperture_above(), 100);
    }

    #[test]
    fn primes() {
        assert!(is_prime(65_537) && is_prime(TABLE) && is_prime(2));
        assert!(!is_prime(65_536) && !is_prime(1));
    }
}
