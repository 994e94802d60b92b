//! What the users see: calls, failures, codes and latency, by second and by phase.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

/// Latency beyond this counts as this: the load's own timeout is shorter.
const LONGEST_US: u64 = 30_000_000;

/// Calls of users to `web` over some time.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    pub(crate) ok: u64,
    pub(crate) failed: u64,
    /// Failures by the code in the answer, or by what happened where there is none.
    pub(crate) codes: BTreeMap<String, u64>,
    /// What the last failed call was told.
    pub(crate) last_failure: Option<String>,
    latency: Histogram<u64>,
}

/// A call that failed, as its user sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failed {
    /// The code in the answer, or what happened where there is none.
    pub(crate) code: String,
    /// The answer.
    pub(crate) text: String,
}

impl From<&str> for Failed {
    fn from(what: &str) -> Self {
        Self {
            code: what.to_owned(),
            text: what.to_owned(),
        }
    }
}

impl Default for Figures {
    fn default() -> Self {
        let latency = Histogram::new_with_bounds(1, LONGEST_US, 2);
        // The bounds are constants; an empty histogram that grows is the same for readers.
        let latency =
            latency.unwrap_or_else(|_| Histogram::new(2).unwrap_or_else(|_| unreachable!()));
        Self {
            ok: 0,
            failed: 0,
            codes: BTreeMap::new(),
            last_failure: None,
            latency,
        }
    }
}

impl Figures {
    pub(crate) fn record(&mut self, outcome: Result<(), Failed>, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(LONGEST_US);
        self.latency.saturating_record(micros.clamp(1, LONGEST_US));
        match outcome {
            Ok(()) => self.ok += 1,
            Err(failed) => {
                self.failed += 1;
                *self.codes.entry(failed.code).or_default() += 1;
                self.last_failure = Some(failed.text);
            }
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.ok += other.ok;
        self.failed += other.failed;
        for (code, count) in &other.codes {
            *self.codes.entry(code.clone()).or_default() += count;
        }
        if other.last_failure.is_some() {
            self.last_failure.clone_from(&other.last_failure);
        }
        // Both have the same bounds.
        let _ = self.latency.add(&other.latency);
    }

    pub(crate) fn calls(&self) -> u64 {
        self.ok + self.failed
    }

    /// Percent of calls that users saw succeed; 100 when there was none.
    pub(crate) fn success(&self) -> f64 {
        percent(self.ok, self.calls())
    }

    /// Percent that would have succeeded if no first failure had been rescued.
    pub(crate) fn success_without(&self, rescued: u64) -> f64 {
        percent(self.ok.saturating_sub(rescued), self.calls())
    }

    pub(crate) fn quantile(&self, q: f64) -> Duration {
        Duration::from_micros(self.latency.value_at_quantile(q))
    }

    /// The code seen most often.
    pub(crate) fn top_code(&self) -> Option<&str> {
        self.codes
            .iter()
            .max_by_key(|(_, count)| **count)
            .map(|(code, _)| code.as_str())
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 100.0;
    }
    #[allow(clippy::cast_precision_loss, reason = "counts of one run of a demo")]
    let share = part as f64 / whole as f64;
    share * 100.0
}

/// Where the load writes and the console reads.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    current: Mutex<Figures>,
}

impl Recorder {
    pub(crate) fn record(&self, outcome: Result<(), Failed>, took: Duration) {
        self.lock().record(outcome, took);
    }

    /// What was recorded since the last time.
    pub(crate) fn take(&self) -> Figures {
        std::mem::take(&mut *self.lock())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().calls() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The code in a text like `reviews: denied [M4001]`.
pub(crate) fn code_in(text: &str) -> Option<&str> {
    let at = text.find("[M")?;
    let code = text.get(at + 1..at + 6)?;
    let digits = code.get(1..)?.bytes().all(|byte| byte.is_ascii_digit());
    (digits && text.as_bytes().get(at + 6) == Some(&b']')).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_is_what_users_see_and_without_is_less_the_rescued() {
        let mut figures = Figures::default();
        for n in 0..10 {
            let outcome = if n == 0 { Err("M4001".into()) } else { Ok(()) };
            figures.record(outcome, Duration::from_millis(n + 1));
        }
        assert_eq!(figures.success(), 90.0);
        assert_eq!(figures.success_without(2), 70.0);
        assert_eq!(figures.top_code(), Some("M4001"));
        let p50 = figures.quantile(0.5).as_micros();
        assert!((4_900..=5_100).contains(&p50), "{p50}");
    }

    #[test]
    fn nothing_asked_is_nothing_failed() {
        assert_eq!(Figures::default().success(), 100.0);
    }

    #[test]
    fn taking_starts_anew_and_adding_restores() {
        let recorder = Recorder::default();
        recorder.record(Ok(()), Duration::from_millis(1));
        let mut all = recorder.take();
        recorder.record(Err("503".into()), Duration::from_millis(3));
        all.add(&recorder.take());
        assert_eq!((all.ok, all.failed, all.calls()), (1, 1, 2));
        assert_eq!(recorder.take().calls(), 0);
    }

    #[test]
    fn a_code_is_found_in_brackets() {
        assert_eq!(code_in("reviews: denied [M4001]"), Some("M4001"));
        assert_eq!(code_in("[Mxxxx] [M4001"), None);
        assert_eq!(code_in("none"), None);
        assert_eq!(code_in("[M"), None);
    }
}
