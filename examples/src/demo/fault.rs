//! What one instance was told to do wrong.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Faults of one service process, set by lines on its standard input.
#[derive(Debug, Default)]
pub(crate) struct Fault {
    fail_percent: AtomicU32,
    slow_ms: AtomicU32,
}

impl Fault {
    /// Takes `fail 30`, `slow 400` or `heal`. False for a line that is none of these.
    pub(crate) fn command(&self, line: &str) -> bool {
        let mut words = line.split_whitespace();
        let (word, number) = (words.next(), words.next().map(str::parse::<u32>));
        match (word, number) {
            (Some("fail"), Some(Ok(percent))) => {
                self.fail_percent.store(percent.min(100), Ordering::Relaxed);
            }
            (Some("slow"), Some(Ok(millis))) => self.slow_ms.store(millis, Ordering::Relaxed),
            (Some("heal"), None) => {
                self.fail_percent.store(0, Ordering::Relaxed);
                self.slow_ms.store(0, Ordering::Relaxed);
            }
            _ => return false,
        }
        true
    }

    /// Whether this call fails. `dice` is uniform in 0..100.
    pub(crate) fn fails(&self, dice: u32) -> bool {
        dice < self.fail_percent.load(Ordering::Relaxed)
    }

    /// How long this call is held up.
    pub(crate) fn delay(&self) -> Option<Duration> {
        match self.slow_ms.load(Ordering::Relaxed) {
            0 => None,
            millis => Some(Duration::from_millis(millis.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_set_and_healed_by_a_line() {
        let fault = Fault::default();
        assert!(!fault.fails(0) && fault.delay().is_none());
        assert!(fault.command("fail 30") && fault.command("slow 400"));
        assert!(fault.fails(29) && !fault.fails(30));
        assert_eq!(fault.delay(), Some(Duration::from_millis(400)));
        assert!(fault.command("heal"));
        assert!(!fault.fails(0) && fault.delay().is_none());
        assert!(!fault.command("explode") && !fault.command("fail") && !fault.command("fail x"));
    }
}
