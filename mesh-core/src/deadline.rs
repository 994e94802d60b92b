//! Deadlines: relative on the wire, an absolute monotonic instant inside.
//!
//! gRPC carries `grpc-timeout` (at most 8 digits and a unit), HTTP our own `x-mesh-timeout-ms`.
//! The time left is computed again at each send, and a hop takes the smallest of what its caller
//! has left, less a margin for the way back ([`inherit`]), and what its own policy allows.

use std::fmt;
use std::time::{Duration, Instant};

use crate::policy::defaults::DEADLINE_MARGIN;

/// The largest value that 8 digits can say.
const MAX_DIGITS_VALUE: u128 = 99_999_999;

/// Parses a `grpc-timeout`: 1 to 8 digits and one of `H M S m u n`. Fuzz entry point.
pub fn parse_grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(value * 3600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}

/// A `grpc-timeout` text, built without allocating.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct GrpcTimeout {
    bytes: [u8; 9],
    len: u8,
}

/// Formats `left` in the finest unit that fits 8 digits, rounded down so that the callee never
/// believes in more time than there is. What even hours cannot say becomes 99999999H.
pub fn format_grpc_timeout(left: Duration) -> GrpcTimeout {
    let nanos = left.as_nanos();
    let (value, unit) = [
        (1, b'n'),
        (1_000, b'u'),
        (1_000_000, b'm'),
        (1_000_000_000, b'S'),
        (60_000_000_000, b'M'),
        (3_600_000_000_000_u128, b'H'),
    ]
    .into_iter()
    .map(|(per, unit)| (nanos / per, unit))
    .find(|(value, _)| *value <= MAX_DIGITS_VALUE)
    .unwrap_or((MAX_DIGITS_VALUE, b'H'));
    GrpcTimeout::new(value as u64, unit)
}

/// Parses `x-mesh-timeout-ms`: 1 to 12 digits, milliseconds.
pub fn parse_timeout_ms(text: &str) -> Option<Duration> {
    if text.is_empty() || text.len() > 12 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().map(Duration::from_millis)
}

/// The number for `x-mesh-timeout-ms`, rounded down, at most 12 digits.
pub fn format_timeout_ms(left: Duration) -> u64 {
    u64::try_from(left.as_millis())
        .unwrap_or(u64::MAX)
        .min(999_999_999_999)
}

/// The deadline of a call that is made for a request whose caller waits until `incoming`: earlier by
/// a margin for the way back, so that the caller hears of a call that took too long, by its code,
/// while it still listens. The margin is [`DEADLINE_MARGIN`] or a tenth of the time left, whichever is
/// less: no chain of hops uses a short deadline up.
pub fn inherit(incoming: Instant, now: Instant) -> Instant {
    let left = incoming.saturating_duration_since(now);
    let margin = DEADLINE_MARGIN.min(left / 10);
    incoming.checked_sub(margin).unwrap_or(incoming)
}

/// The earlier of two deadlines; `None` means unbounded.
pub fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// The time left until `deadline`; zero when it has passed, `None` when there is none.
pub fn left(deadline: Option<Instant>, now: Instant) -> Option<Duration> {
    deadline.map(|at| at.saturating_duration_since(now))
}

// === impl GrpcTimeout ===

impl GrpcTimeout {
    fn new(mut value: u64, unit: u8) -> Self {
        let mut digits = [0_u8; 8];
        let mut at = digits.len();
        loop {
            at = at.saturating_sub(1);
            digits[at] = b'0' + (value % 10) as u8;
            value /= 10;
            if value == 0 || at == 0 {
                break;
            }
        }
        let count = digits.len() - at;
        let mut bytes = [0_u8; 9];
        bytes[..count].copy_from_slice(&digits[at..]);
        bytes[count] = unit;
        Self {
            bytes,
            len: count as u8 + 1,
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or("0n")
    }

    /// The text as bytes, for a header value.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(b"0n")
    }
}

impl fmt::Display for GrpcTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for GrpcTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn every_unit_is_read() {
        for (text, value) in [
            ("1H", Duration::from_secs(3600)),
            ("2M", Duration::from_secs(120)),
            ("3S", Duration::from_secs(3)),
            ("4m", Duration::from_millis(4)),
            ("5u", Duration::from_micros(5)),
            ("6n", Duration::from_nanos(6)),
            ("00000001S", Duration::from_secs(1)),
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
            ("0n", Duration::ZERO),
        ] {
            assert_eq!(parse_grpc_timeout(text), Some(value), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "S",
            "1",
            "1s",
            "1h",
            "100000000S",
            "-1S",
            "+1S",
            "1.5S",
            " 1S",
            "1S ",
            "1\u{e9}",
        ] {
            assert_eq!(parse_grpc_timeout(text), None, "{text:?}");
        }
        for text in ["", "-1", "+1", "1.5", "1 ", "1000000000000"] {
            assert_eq!(parse_timeout_ms(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_finest_unit_that_fits_is_written() {
        for (value, text) in [
            (Duration::ZERO, "0n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_nanos(100_000_000), "100000u"),
            (Duration::from_secs(2), "2000000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::from_secs(100_000_000), "1666666M"),
            (Duration::MAX, "99999999H"),
        ] {
            assert_eq!(format_grpc_timeout(value).as_str(), text);
        }
    }

    #[test]
    fn a_hop_leaves_time_for_the_way_back() {
        let now = Instant::now();
        let left = |incoming: Duration| inherit(now + incoming, now) - now;
        assert_eq!(left(1000 * MS), 995 * MS);
        assert_eq!(left(50 * MS), 45 * MS);
        assert_eq!(left(10 * MS), 9 * MS, "a tenth of what is short");
        assert_eq!(left(Duration::ZERO), Duration::ZERO);
        let past = now.checked_sub(MS).unwrap_or(now);
        assert_eq!(inherit(past, now), past);
        // Ten hops of a second: half a tenth of it at most.
        let last = (0..10).fold(now + 1000 * MS, |at, _| inherit(at, now));
        assert_eq!(last - now, 950 * MS);
    }

    #[test]
    fn a_deadline_in_the_past_leaves_nothing() {
        let now = Instant::now();
        assert_eq!(left(Some(now), now + MS), Some(Duration::ZERO));
        assert_eq!(left(Some(now + MS), now), Some(MS));
        assert_eq!(left(None, now), None);
        assert_eq!(earlier(Some(now + MS), Some(now)), Some(now));
        assert_eq!(earlier(None, Some(now)), Some(now));
    }

    proptest! {
        #[test]
        fn a_written_timeout_is_never_longer_and_loses_under_one_part_in_a_million(nanos in 0_u64..) {
            let value = Duration::from_nanos(nanos);
            let read = parse_grpc_timeout(format_grpc_timeout(value).as_str()).unwrap();
            prop_assert!(read <= value);
            prop_assert!(value - read <= value / 1_000_000);
        }

        #[test]
        fn reading_never_panics(text in ".{0,12}") {
            let _ = parse_grpc_timeout(&text);
            let _ = parse_timeout_ms(&text);
        }
    }
}
