use super::over;
use crate::error::Code;
use crate::policy::defaults;
use crate::policy::model::EjectionPolicy;
use crate::policy::spec::{Interval, OutlierDetection, Ratio};
use crate::policy::validate::ranges::Ranges;

pub(super) fn policy(s: &OutlierDetection) -> EjectionPolicy {
    let d = EjectionPolicy::default();
    let eject_for = s.eject_for.map_or(d.eject_for(), Interval::get);
    // "300 s, or the base if that is longer" (Envoy).
    let most = d.max_eject_for().max(eject_for);
    let rate = s.success_rate.clone().unwrap_or_default();
    let share = s.failure_percentage.clone().unwrap_or_default();
    let latency = s.latency.clone().unwrap_or_default();
    let threshold = s.failure_percentage.as_ref().map(|p| {
        p.threshold
            .unwrap_or(defaults::EJECT_FAILURE_PERCENTAGE_GIVEN)
    });
    over!(d.with_eject_for(eject_for).with_max_eject_for(most);
        with_consecutive_errors: s.consecutive_errors,
        with_consecutive_gateway: s.consecutive_gateway_errors,
        with_split_local_origin: s.split_local_origin,
        with_consecutive_local: s.consecutive_local_errors,
        with_failure_percent: s.failure_percent,
        with_minimum_calls: s.minimum_calls,
        with_interval: s.interval.map(Interval::get),
        with_max_eject_for: s.max_eject_for.map(Interval::get),
        with_max_eject_jitter: s.max_eject_jitter.map(Interval::get),
        with_max_ejected_percent: s.max_ejected_percent,
        with_success_rate: s.success_rate.as_ref().map(|r| r.enabled.unwrap_or(true)),
        with_success_rate_minimum_hosts: rate.minimum_hosts,
        with_success_rate_volume: rate.request_volume,
        with_success_rate_stdev_milli: rate.stdev_factor.map(Ratio::milli),
        with_failure_percentage_threshold: threshold,
        with_failure_percentage_minimum_hosts: share.minimum_hosts,
        with_failure_percentage_volume: share.request_volume,
        with_latency: latency.mode,
        with_latency_factor_milli: latency.factor.map(Ratio::milli),
        with_latency_intervals: latency.intervals,
        with_latency_volume: latency.request_volume,
        with_latency_minimum_hosts: latency.minimum_hosts,
    )
}

pub(super) fn check(ranges: &mut Ranges<'_, '_>, s: &OutlierDetection) {
    let at = |field: &str| format!("outlierDetection.{field}");
    ranges.percent(&at("failurePercent"), s.failure_percent);
    ranges.percent(&at("maxEjectedPercent"), s.max_ejected_percent);
    ranges.positive(&at("interval"), s.interval);
    ranges.positive(&at("ejectFor"), s.eject_for);
    ranges.positive(&at("maxEjectFor"), s.max_eject_for);
    ranges.at_least_one(&at("minimumCalls"), s.minimum_calls);
    if let (Some(base), Some(most)) = (s.eject_for, s.max_eject_for)
        && most < base
    {
        let why = format!("{most} is shorter than `ejectFor`, {base}");
        ranges.refuse(&at("maxEjectFor"), why);
    }
    if s.max_ejected_percent == Some(100) {
        let why = "a cap of 100 % can empty the pool";
        let finding = ranges.note(&at("maxEjectedPercent"), Code::POLICY_EJECTION_CAP, why);
        finding.help(format!(
            "leave enough endpoints to carry the load; the default is {}",
            defaults::MAX_EJECTED_PERCENT
        ));
    }
    for (field, value, usual) in [
        (
            "consecutiveErrors",
            s.consecutive_errors,
            defaults::EJECT_CONSECUTIVE,
        ),
        (
            "consecutiveGatewayErrors",
            s.consecutive_gateway_errors,
            defaults::EJECT_CONSECUTIVE,
        ),
        (
            "consecutiveLocalErrors",
            s.consecutive_local_errors,
            defaults::EJECT_CONSECUTIVE_LOCAL,
        ),
    ] {
        if let Some(n @ 1..=2) = value {
            let why = format!("{n} failures in a row are chance, not a broken endpoint");
            let finding = ranges.note(&at(field), Code::POLICY_EJECTION_EAGER, why);
            finding.help(format!(
                "use 3 or more (the default is {usual}), or 0 to switch the rule off"
            ));
        }
    }
    if s.consecutive_local_errors.is_some() && s.split_local_origin != Some(true) {
        let why = "`consecutiveLocalErrors` has no effect without `splitLocalOrigin: true`";
        ranges.warn(&at("consecutiveLocalErrors"), Code::POLICY_UNUSED, why);
    }
    let rate = s.success_rate.clone().unwrap_or_default();
    ranges.at_least_one(&at("successRate.minimumHosts"), rate.minimum_hosts);
    ranges.at_least_one(&at("successRate.requestVolume"), rate.request_volume);
    ranges.ratio(
        &at("successRate.stdevFactor"),
        rate.stdev_factor,
        1..=100_000,
    );
    let share = s.failure_percentage.clone().unwrap_or_default();
    ranges.percent(&at("failurePercentage.threshold"), share.threshold);
    ranges.at_least_one(&at("failurePercentage.minimumHosts"), share.minimum_hosts);
    ranges.at_least_one(&at("failurePercentage.requestVolume"), share.request_volume);
    let latency = s.latency.clone().unwrap_or_default();
    ranges.ratio(&at("latency.factor"), latency.factor, 1001..=1_000_000);
    ranges.at_least_one(&at("latency.intervals"), latency.intervals);
    ranges.at_least_one(&at("latency.requestVolume"), latency.request_volume);
    ranges.at_least_one(&at("latency.minimumHosts"), latency.minimum_hosts);
}
