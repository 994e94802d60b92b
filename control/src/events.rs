//! The ring of recent events: what `meshctl check`, the page and a person's memory need.

use std::collections::VecDeque;
use std::time::SystemTime;

use serde::Serialize;

/// Events kept; the oldest goes first.
const CAPACITY: usize = 500;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Event {
    /// Counts up by one, from 1, for the life of the process.
    pub(crate) number: u64,
    /// Milliseconds since 1970.
    pub(crate) at_unix_ms: i64,
    pub(crate) kind: &'static str,
    pub(crate) subject: String,
    pub(crate) message: String,
    /// M####, or empty.
    pub(crate) code: String,
}

/// The last events.
#[derive(Debug, Default)]
pub(crate) struct Events {
    ring: VecDeque<Event>,
    last: u64,
}

impl Events {
    pub(crate) fn push(
        &mut self,
        kind: &'static str,
        subject: impl Into<String>,
        message: impl Into<String>,
        code: impl Into<String>,
    ) {
        if self.ring.len() == CAPACITY {
            self.ring.pop_front();
        }
        self.last += 1;
        let event = Event {
            number: self.last,
            at_unix_ms: unix_ms(SystemTime::now()),
            kind,
            subject: subject.into(),
            message: message.into(),
            code: code.into(),
        };
        tracing::info!(
            kind = event.kind, subject = %event.subject, code = %event.code, "{}", event.message
        );
        self.ring.push_back(event);
    }

    /// Events after a number, oldest first, at most `limit` of the newest.
    pub(crate) fn after(&self, number: u64, limit: usize) -> Vec<Event> {
        let newer = self
            .ring
            .iter()
            .filter(|event| event.number > number)
            .count();
        self.ring
            .iter()
            .skip(self.ring.len() - newer.min(limit))
            .cloned()
            .collect()
    }
}

pub(crate) fn unix_ms(at: SystemTime) -> i64 {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(crate) fn unix_seconds(at: SystemTime) -> i64 {
    unix_ms(at) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_keeps_the_newest_and_numbers_go_on() {
        let mut events = Events::default();
        for n in 0..CAPACITY + 5 {
            events.push("check", n.to_string(), "", "");
        }
        let all = events.after(0, usize::MAX);
        assert_eq!((all.len(), all[0].number), (CAPACITY, 6));
        let last = events.after(0, 2);
        assert_eq!(
            last.iter().map(|event| event.number).collect::<Vec<_>>(),
            [504, 505]
        );
        assert_eq!(events.after(504, 100).len(), 1);
        assert!(events.after(505, 100).is_empty());
    }
}
