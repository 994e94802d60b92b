use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mesh_core::classify::Class;
use mesh_core::report::{EdgeReport, SharedHistogram};
use mesh_core::telemetry::names;

use super::ending::{Ended, code_text, error_type};
use crate::telemetry::{Counter, Histogram, Recorder};

/// The calls from this process to one service over one route: counters of the interval for the
/// report, and handles of the series for the exposition.
pub(crate) struct Edge {
    to: Arc<str>,
    route: Arc<str>,
    recorder: Recorder,
    calls: AtomicU64,
    failures: AtomicU64,
    retries: AtomicU64,
    rescued: AtomicU64,
    plaintext: AtomicBool,
    latency: SharedHistogram,
    /// Failures only: the path of success never takes this lock.
    codes: Mutex<BTreeMap<u32, u64>>,
    ok: Counter,
    ok_grpc: Counter,
    duration: Histogram,
    attempts_ok: Counter,
    rescued_total: Counter,
    budget_exhausted: Counter,
    body_too_large: Counter,
    /// Series of every other answer, resolved when one is first seen.
    others: Mutex<HashMap<Series, Counter>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Series {
    Call(Ended),
    Attempt(Class),
    Retry(&'static str),
    Refused(&'static str),
    Hedge(&'static str),
}

// === impl Edge ===

impl Edge {
    pub(crate) fn new(to: Arc<str>, route: Arc<str>, recorder: &Recorder) -> Self {
        let both = [(names::SERVICE, &*to), (names::ROUTE, &*route)];
        let ok = |status| {
            recorder.counter(
                names::CALLS,
                &[
                    (names::SERVICE, &*to),
                    (names::ROUTE, &*route),
                    (names::CLASS, Class::Success.label()),
                    (names::STATUS, status),
                    (names::ERROR_TYPE, ""),
                ],
            )
        };
        Self {
            calls: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            rescued: AtomicU64::new(0),
            plaintext: AtomicBool::new(false),
            latency: SharedHistogram::default(),
            codes: Mutex::default(),
            ok: ok("200"),
            ok_grpc: ok("grpc-0"),
            duration: recorder.histogram(names::CALL_DURATION, &both),
            attempts_ok: recorder.counter(
                names::ATTEMPTS,
                &[
                    (names::SERVICE, &*to),
                    (names::ROUTE, &*route),
                    (names::CLASS, Class::Success.label()),
                ],
            ),
            rescued_total: recorder.counter(names::RESCUED, &both),
            budget_exhausted: recorder.counter(names::BUDGET_EXHAUSTED, &both[..1]),
            body_too_large: recorder.counter(names::RETRY_BODY_TOO_LARGE, &both[..1]),
            others: Mutex::default(),
            recorder: recorder.clone(),
            to,
            route,
        }
    }

    /// Counts a call that is over. `headers` is the time to response headers, if there were any.
    pub(crate) fn finish(&self, ended: Ended, headers: Duration, retried: bool) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.latency.record(headers);
        self.duration.record(headers);
        match ended {
            Ended {
                class: Class::Success,
                code: 200,
            } => self.ok.increment(1),
            Ended {
                class: Class::Success,
                code: Ended::GRPC_OK,
            } => self.ok_grpc.increment(1),
            ended => self.count(Series::Call(ended)),
        }
        if ended.class.is_failure() {
            self.failures.fetch_add(1, Ordering::Relaxed);
            let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
            *codes.entry(ended.code).or_default() += 1;
        } else if retried && ended.class != Class::Cancelled {
            self.rescued.fetch_add(1, Ordering::Relaxed);
            self.rescued_total.increment(1);
        }
    }

    /// Counts a connection of bytes where calls are counted for the report. `took` is the time until
    /// it was made, or not.
    pub(crate) fn connection(&self, failed: Option<Ended>, took: Duration, retried: bool) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.latency.record(took);
        match failed {
            Some(ended) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
                *codes.entry(ended.code).or_default() += 1;
            }
            None if retried => {
                self.rescued.fetch_add(1, Ordering::Relaxed);
                self.rescued_total.increment(1);
            }
            None => {}
        }
    }

    /// Counts one attempt.
    pub(crate) fn attempt(&self, class: Class) {
        match class {
            Class::Success => self.attempts_ok.increment(1),
            class => self.count(Series::Attempt(class)),
        }
    }

    /// Counts an attempt beyond the first, by what made it necessary.
    pub(crate) fn retry(&self, reason: &'static str) {
        self.retries.fetch_add(1, Ordering::Relaxed);
        self.count(Series::Retry(reason));
    }

    /// Counts a failed attempt that was not repeated although it might have been.
    pub(crate) fn retry_refused(&self, reason: &'static str) {
        self.count(Series::Refused(reason));
    }

    /// Counts what became of a hedge.
    pub(crate) fn hedge(&self, what: &'static str) {
        if what == "sent" {
            self.retries.fetch_add(1, Ordering::Relaxed);
        }
        self.count(Series::Hedge(what));
    }

    pub(crate) fn budget_exhausted(&self) {
        self.budget_exhausted.increment(1);
    }

    pub(crate) fn body_too_large(&self) {
        self.body_too_large.increment(1);
    }

    /// Says that a connection without TLS was used.
    pub(crate) fn plaintext(&self) {
        if !self.plaintext.load(Ordering::Relaxed) {
            self.plaintext.store(true, Ordering::Relaxed);
        }
    }

    fn count(&self, series: Series) {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others
            .entry(series)
            .or_insert_with(|| self.resolve(series))
            .increment(1);
    }

    fn resolve(&self, series: Series) -> Counter {
        let service = (names::SERVICE, &*self.to);
        let route = (names::ROUTE, &*self.route);
        match series {
            Series::Call(ended) => {
                let status = code_text(ended.code);
                let (status, error) = match error_type(ended.code) {
                    Some(label) => ("", label),
                    None => (&*status, ""),
                };
                let labels = [
                    service,
                    route,
                    (names::CLASS, ended.class.label()),
                    (names::STATUS, status),
                    (names::ERROR_TYPE, error),
                ];
                self.recorder.counter(names::CALLS, &labels)
            }
            Series::Attempt(class) => {
                let labels = [service, route, (names::CLASS, class.label())];
                self.recorder.counter(names::ATTEMPTS, &labels)
            }
            Series::Retry(reason) => self
                .recorder
                .counter(names::RETRIES, &[service, route, (names::REASON, reason)]),
            Series::Hedge(what) => {
                let labels = [service, route, (names::REASON, what)];
                self.recorder.counter(names::HEDGES, &labels)
            }
            Series::Refused(reason) => {
                let labels = [service, route, (names::REASON, reason)];
                self.recorder.counter(names::RETRIES_REFUSED, &labels)
            }
        }
    }

    /// What was counted since the last call; `None` without traffic.
    pub(crate) fn take_report(&self) -> Option<EdgeReport> {
        let calls = self.calls.swap(0, Ordering::Relaxed);
        let retries = self.retries.swap(0, Ordering::Relaxed);
        if calls == 0 && retries == 0 {
            return None;
        }
        let codes = std::mem::take(&mut *self.codes.lock().unwrap_or_else(PoisonError::into_inner));
        Some(EdgeReport {
            to: self.to.to_string(),
            route: self.route.to_string(),
            calls,
            failures: self.failures.swap(0, Ordering::Relaxed),
            retries,
            rescued: self.rescued.swap(0, Ordering::Relaxed),
            codes: codes
                .into_iter()
                .map(|(code, n)| (code_text(code), n))
                .collect(),
            latency: self.latency.take(),
            mtls: !self.plaintext.swap(false, Ordering::Relaxed),
        })
    }
}

impl std::fmt::Debug for Edge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Edge")
            .field("to", &self.to)
            .field("route", &self.route)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_holds_each_call_once() {
        let recorder = Recorder::new();
        let edge = Edge::new("shop/reviews".into(), "all".into(), &recorder);
        let ok = Ended {
            class: Class::Success,
            code: 200,
        };
        let bad = Ended {
            class: mesh_core::classify::grpc(14),
            code: Ended::GRPC_OK + 14,
        };
        edge.finish(ok, Duration::from_millis(3), false);
        edge.finish(ok, Duration::from_millis(3), true);
        edge.finish(bad, Duration::from_millis(3), true);
        edge.retry("503");
        let report = edge.take_report().unwrap();
        assert_eq!((report.calls, report.failures, report.rescued), (3, 1, 1));
        assert_eq!(report.retries, 1);
        assert_eq!(report.codes["grpc-14"], 1);
        assert_eq!(report.latency.count(), 3);
        assert_eq!(edge.take_report(), None);

        let text = recorder.render();
        assert!(text.contains("status=\"grpc-14\""), "{text}");
        assert!(text.contains("mesh_rescued_total{service=\"shop/reviews\",route=\"all\"} 1"));
    }
}
