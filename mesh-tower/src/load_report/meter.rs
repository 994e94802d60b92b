use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use mesh_core::balance::LoadReport;

use crate::runtime;

/// How often load is measured, in ms.
const EVERY_MS: u64 = 1000;

/// What a server tells of its load. A clone is another handle.
#[derive(Clone, Debug)]
pub struct LoadReports(Arc<Meter>);

#[derive(Debug)]
struct Meter {
    always: bool,
    /// Somebody has asked: from now on calls are counted.
    counting: AtomicBool,
    start: Instant,
    /// When the window began, in ms from `start`.
    since: AtomicU64,
    calls: AtomicU64,
    failures: AtomicU64,
    /// What was counted when the window began.
    counted: [AtomicU64; 3],
    /// The last report: calls and failures a second, processors used, as `f64`.
    report: [AtomicU64; 3],
    application: AtomicU64,
}

// === impl LoadReports ===

impl LoadReports {
    /// Told to those who ask.
    pub fn new() -> Self {
        Self::with(false)
    }

    /// Told to everybody: gRPC callers in the trailers, others in the header.
    pub fn always() -> Self {
        Self::with(true)
    }

    fn with(always: bool) -> Self {
        Self(Arc::new(Meter {
            always,
            counting: AtomicBool::new(false),
            start: runtime::now(),
            since: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            counted: Default::default(),
            report: Default::default(),
            application: AtomicU64::new(0),
        }))
    }

    /// How loaded the application takes itself to be, 1 for as much as it can bear; it counts before
    /// the processors. 0 takes it back.
    pub fn set_application_utilization(&self, utilization: f64) {
        let bits = utilization.max(0.0).to_bits();
        self.0.application.store(bits, Relaxed);
    }

    pub(super) fn is_always(&self) -> bool {
        self.0.always
    }

    pub(super) fn is_counting(&self) -> bool {
        self.0.counting.load(Relaxed)
    }

    /// Counts an answer.
    pub(super) fn count(&self, failed: bool) {
        self.0.calls.fetch_add(1, Relaxed);
        if failed {
            self.0.failures.fetch_add(1, Relaxed);
        }
    }

    /// The load of the last whole window.
    pub(super) fn report(&self) -> LoadReport {
        let meter = &*self.0;
        let passed = runtime::now().saturating_duration_since(meter.start);
        let now = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        if !meter.counting.swap(true, Relaxed) {
            // The first window begins.
            meter.since.store(now, Relaxed);
            if let Some(used) = processor_ms() {
                meter.counted[2].store(used, Relaxed);
            }
        }
        let since = meter.since.load(Relaxed);
        let window = now.saturating_sub(since);
        let won = window >= EVERY_MS
            && meter
                .since
                .compare_exchange(since, now, Relaxed, Relaxed)
                .is_ok();
        if won {
            self.measure(window);
        }
        let number = |at: usize| f64::from_bits(meter.report[at].load(Relaxed));
        LoadReport {
            qps: number(0),
            eps: number(1),
            cpu_utilization: number(2),
            application_utilization: f64::from_bits(meter.application.load(Relaxed)),
        }
    }

    fn measure(&self, window: u64) {
        let meter = &*self.0;
        let seconds = window as f64 / 1000.0;
        let processors = std::thread::available_parallelism().map_or(1, |n| n.get());
        let counts = [
            (Some(meter.calls.load(Relaxed)), seconds),
            (Some(meter.failures.load(Relaxed)), seconds),
            (processor_ms(), window as f64 * processors as f64),
        ];
        for (at, (count, per)) in counts.into_iter().enumerate() {
            if let Some(count) = count {
                let before = meter.counted[at].swap(count, Relaxed);
                let rate = count.saturating_sub(before) as f64 / per;
                meter.report[at].store(rate.to_bits(), Relaxed);
            }
        }
    }
}

impl Default for LoadReports {
    fn default() -> Self {
        Self::new()
    }
}

/// Processor time that this process has used, in ms; `None` where that is not known.
fn processor_ms() -> Option<u64> {
    // No file of a disk: this does not wait. The name in parentheses may hold anything.
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let user: u64 = fields.nth(11)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    // In hundredths of a second, whatever the kernel's own clock is (proc(5), `USER_HZ`).
    Some((user + system) * 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn rates_are_those_of_the_last_second_and_nothing_before_it() {
        let reports = LoadReports::new();
        assert!(!reports.is_counting());
        assert_eq!(reports.report(), LoadReport::default());
        assert!(reports.is_counting());
        (0..300).for_each(|call| reports.count(call % 10 == 0));
        assert_eq!(reports.report().qps, 0.0);
        tokio::time::advance(Duration::from_secs(2)).await;
        let report = reports.report();
        assert_eq!((report.qps, report.eps), (150.0, 15.0));
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(reports.report(), report);
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(reports.report().qps, 0.0);
        reports.set_application_utilization(0.5);
        assert_eq!(reports.report().application_utilization, 0.5);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn work_uses_the_processor() {
        let before = processor_ms().unwrap();
        let mut sum = 0_u64;
        while processor_ms().unwrap() < before + 20 {
            (0..100_000_u64).for_each(|n| sum = sum.wrapping_mul(31).wrapping_add(n));
        }
        assert_ne!(sum, 1);
    }
}
