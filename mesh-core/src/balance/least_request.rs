//! Least request (gRFC A48, Envoy): of a few endpoints the one with the fewest calls in flight.
//!
//! Where weights differ, Envoy's `weight / (active + 1)^bias` orders them. Among idle ones that
//! formula would always take the heaviest: there the sample itself is by weight, and stands.

/// `weight / (active + 1)^bias`: more is better.
pub(super) fn rank(weight: u32, active: u32, bias_milli: u32) -> f32 {
    let load = active as f32 + 1.0;
    let load = match bias_milli {
        0 => 1.0,
        1000 => load,
        milli => load.powf(milli as f32 / 1000.0),
    };
    weight as f32 / load
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envoy_least_request_weight_formula() {
        assert_eq!(rank(1, 0, 1000), 1.0);
        assert_eq!(rank(1, 1, 1000), 0.5);
        assert_eq!(rank(6, 2, 1000), 2.0);
        // A bias of 2 punishes twice, one of 0 not at all.
        assert!((rank(18, 2, 2000) - 2.0).abs() < 1e-5);
        assert_eq!(rank(5, 100, 0), 5.0);
    }
}
