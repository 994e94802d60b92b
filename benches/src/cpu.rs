//! CPU time of the calling thread, user and kernel together.

use std::time::Duration;

/// Time that the calling thread has spent on a CPU, from the scheduler's own account.
///
/// `/proc/thread-self/schedstat` counts nanoseconds, where `getrusage` counts ticks, and reading it needs no unsafe code.
///
/// # Panics
///
/// Where the kernel keeps no scheduler statistics.
#[must_use]
pub fn thread_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")
        .expect("Linux with scheduler statistics");
    let nanos = text
        .split_whitespace()
        .next()
        .and_then(|field| field.parse().ok())
        .expect("the first field counts nanoseconds on a CPU");
    Duration::from_nanos(nanos)
}

/// The middle of `values`; the mean of the two in the middle when their count is even.
///
/// # Panics
///
/// When `values` is empty.
#[must_use]
pub fn median(values: &mut [f64]) -> f64 {
    assert!(!values.is_empty(), "a median needs a value");
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_ignores_outliers() {
        assert_eq!(median(&mut [1.0, 100.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 100.0]), 3.0);
    }

    #[test]
    fn work_shows_as_thread_time() {
        let before = thread_time();
        let mut x = 1_u64;
        while thread_time() == before {
            x = std::hint::black_box(x.wrapping_mul(31).wrapping_add(7));
        }
        assert!(thread_time() > before);
    }
}
