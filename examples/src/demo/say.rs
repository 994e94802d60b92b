//! Lines on standard output, each with the time of day.

use std::fmt::Display;
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One line with the time (UTC).
pub(crate) fn say(text: impl Display) {
    plain(format_args!("{}  {text}", clock(SystemTime::now())));
}

/// A line about one break: its name in a column of its own.
pub(crate) fn say_about(what: &str, text: impl Display) {
    say(format_args!("{what:<14} {text}"));
}

/// One line as it is. A reader that went away is no reason to stop half-way.
pub(crate) fn plain(text: impl Display) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}

fn clock(at: SystemTime) -> String {
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() % 86_400;
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// `850us`, `9ms`, `1.2s`.
pub(crate) fn short(duration: Duration) -> String {
    if duration >= Duration::from_secs(1) {
        format!("{:.1}s", duration.as_secs_f64())
    } else if duration >= Duration::from_millis(1) {
        format!("{}ms", duration.as_millis())
    } else {
        format!("{}us", duration.as_micros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_day_and_short_durations() {
        assert_eq!(
            clock(UNIX_EPOCH + Duration::from_secs(86_400 + 3_661)),
            "01:01:01"
        );
        assert_eq!(short(Duration::from_micros(850)), "850us");
        assert_eq!(short(Duration::from_millis(9)), "9ms");
        assert_eq!(short(Duration::from_millis(1_234)), "1.2s");
    }
}
