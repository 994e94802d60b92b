use std::time::Duration;

/// Waits between attempts to reach the control server: 100 ms, doubled up to 5 s, each drawn from its upper half, so
/// that a fleet does not come back in step.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(5);

impl Backoff {
    /// It worked: the next failure starts from the shortest wait.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    pub(super) fn next(&mut self) -> Duration {
        let full = FIRST.saturating_mul(1 << self.failures.min(16)).min(LAST);
        self.failures = self.failures.saturating_add(1);
        full.mul_f64(fastrand::f64().mul_add(0.5, 0.5))
    }

    pub(super) async fn wait(&mut self) {
        tokio::time::sleep(self.next()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_five_seconds_and_start_over() {
        let mut backoff = Backoff::default();
        for expected in [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000] {
            let wait = backoff.next().as_millis();
            assert!(
                (expected / 2..=expected).contains(&wait),
                "{wait} ms of {expected}"
            );
        }
        backoff.failures = u32::MAX;
        assert!(backoff.next() <= LAST);
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
