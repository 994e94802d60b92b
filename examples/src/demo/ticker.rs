//! The line a second.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::figures::Figures;
use super::say::short;
use super::shop::{Counters, Shop};

/// Keeps what the last second was, so that the next one can be told apart.
#[derive(Debug, Default)]
pub(crate) struct Ticker {
    before: BTreeMap<String, Counters>,
}

/// One second.
#[derive(Debug)]
pub(crate) struct Second {
    pub(crate) users: Figures,
    pub(crate) counted: Counters,
}

impl Ticker {
    /// What happened since the last call.
    pub(crate) fn next(&mut self, shop: &Shop) -> Second {
        let now = shop.counters();
        let mut counted = Counters::default();
        for (name, counters) in &now {
            let before = self.before.get(name).copied().unwrap_or_default();
            let more = counters.since(before);
            counted.retries += more.retries;
            counted.rescued += more.rescued;
            counted.ejections += more.ejections;
        }
        self.before = now;
        Second {
            users: shop.recorder.take(),
            counted,
        }
    }
}

impl Second {
    /// `50 calls/s  users see 100.00%  p50 3ms  p99 9ms  retries 5/s, rescued 5`.
    pub(crate) fn line(&self, out_of_rotation: u64) -> String {
        let users = &self.users;
        let mut line = format!(
            "{:>3} calls/s   users see {:6.2}%   p50 {:>5}  p99 {:>5}",
            users.calls(),
            users.success(),
            short(users.quantile(0.5)),
            short(users.quantile(0.99)),
        );
        let Counters {
            retries, rescued, ..
        } = self.counted;
        if retries > 0 {
            let _ = write!(line, "   retries {retries}/s, rescued {rescued}");
        }
        if out_of_rotation > 0 {
            let _ = write!(line, "   out of rotation {out_of_rotation}");
        }
        if let Some(code) = users.top_code() {
            let _ = write!(line, "   {} failed: {code}", users.failed);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_quiet_second_is_short_and_trouble_is_named() {
        let mut users = Figures::default();
        users.record(Ok(()), Duration::from_millis(3));
        let quiet = Second {
            users: users.clone(),
            counted: Counters::default(),
        }
        .line(0);
        assert!(
            quiet.contains("users see 100.00%") && !quiet.contains("retries"),
            "{quiet}"
        );
        users.record(Err("M4001".into()), Duration::from_millis(1));
        let counted = Counters {
            retries: 5,
            rescued: 4,
            ejections: 1,
        };
        let line = Second { users, counted }.line(1);
        assert!(line.contains("retries 5/s, rescued 4"), "{line}");
        assert!(
            line.contains("out of rotation 1") && line.contains("1 failed: M4001"),
            "{line}"
        );
    }
}
