//! Consistent hashing with bounded loads (Mirrokni et al. 2016, Envoy's `hash_balance_factor`): an
//! endpoint that already carries more than its part is passed over, so one hot key cannot overrun
//! it.

/// How many calls an endpoint of weight `weight` of `total_weight` may carry, when `in_flight` are
/// at all of them and one more comes: `percent` of its fair share, at least one.
pub(super) fn limit(in_flight: u32, percent: u32, weight: u32, total_weight: u64) -> u32 {
    let slots = (u64::from(in_flight) + 1) * u64::from(percent);
    let slots = slots.div_ceil(100);
    let share = (u128::from(slots) * u128::from(weight)).div_ceil(u128::from(total_weight.max(1)));
    u32::try_from(share).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envoy_hash_balance_factor_slots() {
        // Nothing in flight: one call fits anywhere.
        assert_eq!(limit(0, 125, 1, 5), 1);
        // 99 calls and this one at 10 endpoints: 10 each, or 15 by 150 %.
        assert_eq!(limit(99, 100, 1, 10), 10);
        assert_eq!(limit(99, 150, 1, 10), 15);
        // By weight.
        assert_eq!(limit(99, 150, 3, 10), 45);
        assert_eq!(limit(99, 150, 0, 10), 1);
    }

    #[test]
    fn the_limits_together_always_hold_one_call_more() {
        for in_flight in 0..500 {
            for endpoints in 1..20 {
                let all = u64::from(limit(in_flight, 100, 1, endpoints)) * endpoints;
                assert!(all > u64::from(in_flight));
            }
        }
    }
}
