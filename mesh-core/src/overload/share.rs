use crate::context::Criticality;

/// Percent of an adaptive limit that calls of a level may fill, all levels together.
///
/// A call is admitted while fewer calls than its share are in work, so a level only ever competes
/// with what is above it: with sheddable work alone the limit is 60 % full, and 40 % of it stay for
/// what matters more. The uppermost level may go a tenth beyond the limit: it is shed last.
pub const fn share(level: Criticality) -> u32 {
    match level {
        Criticality::Sheddable => 60,
        Criticality::SheddablePlus => 80,
        Criticality::Critical => 100,
        Criticality::CriticalPlus => 110,
    }
}

/// The same for limits that are a promise, such as ceilings and rate limits: nobody goes beyond.
pub const fn firm_share(level: Criticality) -> u32 {
    match level {
        Criticality::CriticalPlus => 100,
        level => share(level),
    }
}

/// `percent` of `limit`, rounded up, so that a level is never left with nothing.
pub(crate) fn part(limit: u32, percent: u32) -> u32 {
    let part = (u64::from(limit) * u64::from(percent)).div_ceil(100);
    u32::try_from(part).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_higher_level_never_has_less() {
        use Criticality::{Critical, CriticalPlus, Sheddable, SheddablePlus};
        let shares = [Sheddable, SheddablePlus, Critical, CriticalPlus].map(share);
        assert_eq!(shares, [60, 80, 100, 110]);
        assert_eq!(firm_share(CriticalPlus), 100);
    }

    #[test]
    fn the_least_level_of_the_least_limit_still_has_a_place() {
        assert_eq!(part(1, share(Criticality::Sheddable)), 1);
        assert_eq!(part(0, 100), 0);
        assert_eq!(part(10, 60), 6);
        assert_eq!(part(u32::MAX, 110), u32::MAX);
    }
}
