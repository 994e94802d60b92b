//! The shop's policy, and the one of the `policy` break.

/// All is well.
pub(crate) const GOOD: &str = include_str!("app/policy.yaml");

/// What lets `web` call `reviews`, and what takes its place in the break.
const ALLOWED: &str = "from: [{ service: web }]";
const DENIED: &str = "from: [{ service: ratings }]";

/// [`GOOD`], but `web` may not call `reviews`.
pub(crate) fn denying() -> String {
    let access = GOOD
        .find("kind: AccessPolicy\nmetadata: { name: reviews,")
        .unwrap_or(0);
    let (before, after) = GOOD.split_at(access);
    format!("{before}{}", after.replacen(ALLOWED, DENIED, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_break_changes_one_line_of_the_policy() {
        let denying = denying();
        let changed: Vec<_> = GOOD
            .lines()
            .zip(denying.lines())
            .filter(|(good, bad)| good != bad)
            .collect();
        assert_eq!(changed.len(), 1);
        assert!(changed[0].0.contains(ALLOWED) && changed[0].1.contains(DENIED));
        // The one of `reviews`, not that of `legacy-stock`.
        let reviews = denying.find("kind: AccessPolicy").unwrap();
        assert!(denying[reviews..].find(DENIED).unwrap() < 200);
    }
}
