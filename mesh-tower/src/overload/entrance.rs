use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
    time::{Duration, Instant},
};

use mesh_core::{
    context::Criticality,
    error::{ErrorKind, Flags, MeshError},
    overload::{Entry, Gate, Refusal, Ticket, Wake},
    policy::{ConcurrencyPolicy, QueuePolicy},
    telemetry::names,
};
use tokio::sync::oneshot;

use super::place::{Place, Stream};
use crate::{
    runtime,
    telemetry::{Counter, Recorder},
};

/// What a refused caller is asked to wait before it comes back to *this* instance.
const COME_BACK: Duration = Duration::from_secs(1);
/// After this long an answer that goes on is a stream.
const STREAM_AFTER: Duration = Duration::from_secs(1);

const REASONS: [&str; 4] = ["requests", "limit", "queue_full", "waited"];
const LEVELS: usize = 4;

/// The gate of a server, and who waits before it.
#[derive(Debug)]
pub(crate) struct Entrance {
    gate: Gate<oneshot::Sender<Told>>,
    /// Answers that go on, oldest first: they give their place back when they have become streams
    /// and the place is wanted.
    streams: Mutex<VecDeque<(Instant, Weak<Stream>)>>,
    recorder: Recorder,
    refused: [OnceLock<Counter>; REASONS.len() * LEVELS],
}

/// What becomes of a call that waits.
#[derive(Debug)]
pub(crate) enum Told {
    Enter(Place),
    Refused,
}

/// What becomes of a call.
pub(super) enum Arrived {
    Enter(Place),
    Wait(Ticket, oneshot::Receiver<Told>),
    Refused(MeshError),
}

/// Why a call was refused.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reason {
    Requests = 0,
    Limit = 1,
    QueueFull = 2,
    Waited = 3,
}

// === impl Entrance ===

impl Entrance {
    pub(crate) fn new(
        concurrency: &ConcurrencyPolicy,
        queue: &QueuePolicy,
        recorder: &Recorder,
    ) -> Self {
        Self {
            gate: Gate::new(concurrency, queue),
            streams: Mutex::default(),
            recorder: recorder.clone(),
            refused: Default::default(),
        }
    }

    pub(crate) fn gate(&self) -> &Gate<oneshot::Sender<Told>> {
        &self.gate
    }

    /// Applies a changed policy; what is in work or waits stays so.
    pub(crate) fn update(self: &Arc<Self>, concurrency: &ConcurrencyPolicy, queue: &QueuePolicy) {
        if self.gate.update(concurrency, queue) {
            self.wake();
        }
    }

    pub(super) fn arrive(self: &Arc<Self>, level: Criticality) -> Arrived {
        let now = runtime::now();
        let mut receiver = None;
        let waiter = || {
            let (sender, told) = oneshot::channel();
            receiver = Some(told);
            sender
        };
        let refusal = match self.gate.enter(now, level, waiter) {
            Entry::Admitted(slot) => return Arrived::Enter(Place::new(self, slot, now)),
            Entry::Waits(ticket) => {
                self.release_streams(now);
                self.wake();
                match receiver {
                    Some(told) => return Arrived::Wait(ticket, told),
                    // Not reached: who waits has a receiver.
                    None => Refusal::Full,
                }
            }
            Entry::Refused(refusal) => {
                self.release_streams(now);
                refusal
            }
        };
        let reason = match refusal {
            Refusal::Limit => Reason::Limit,
            Refusal::Waited => Reason::Waited,
            _ => Reason::QueueFull,
        };
        Arrived::Refused(self.refuse(reason, level))
    }

    /// Gives up a place in the queue. `false` if the call has been told something already.
    pub(super) fn cancel(&self, ticket: Ticket, late: bool) -> bool {
        self.gate.cancel(ticket, late).is_some()
    }

    pub(super) fn longest_wait(&self) -> Duration {
        self.gate.longest_wait()
    }

    /// Counts a refused call and makes its error.
    pub(super) fn refuse(&self, reason: Reason, level: Criticality) -> MeshError {
        let name = REASONS[reason as usize];
        let at = reason as usize * LEVELS + level as usize;
        if let Some(counter) = self.refused.get(at) {
            let labels = [(names::REASON, name), (names::CRITICALITY, level.as_str())];
            counter
                .get_or_init(|| self.recorder.counter(names::SERVER_SHED, &labels))
                .increment(1);
        }
        let what = match reason {
            Reason::Requests => "as many requests as the server bears are in work".to_owned(),
            Reason::Limit => format!(
                "{} requests are in work, no more are taken",
                self.gate.limit()
            ),
            Reason::QueueFull => "the server is at its limit and its queue is full".to_owned(),
            Reason::Waited => {
                "the server is at its limit and the request waited too long".to_owned()
            }
        };
        let flags = Flags {
            refused: true,
            ..Flags::default()
        };
        MeshError::new(ErrorKind::Overloaded, what)
            .with_flags(flags)
            .with_retry_after(COME_BACK)
    }

    /// Tells those who wait what becomes of them. Who is gone gives its place back, which wakes the
    /// next: bounded by the length of the queue.
    pub(super) fn wake(self: &Arc<Self>) {
        while let Some(wake) = self.gate.next(runtime::now()) {
            // A receiver that is gone drops what it is told, place included.
            let _ = match wake {
                Wake::Admit(waiter, slot) => {
                    waiter.send(Told::Enter(Place::new(self, slot, runtime::now())))
                }
                Wake::Refuse(waiter) => waiter.send(Told::Refused),
            };
        }
    }

    /// Remembers an answer that goes on.
    pub(super) fn watch(&self, now: Instant, stream: &Arc<Stream>) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        while streams
            .front()
            .is_some_and(|(_, stream)| stream.strong_count() == 0)
        {
            streams.pop_front();
        }
        streams.push_back((now + STREAM_AFTER, Arc::downgrade(stream)));
    }

    /// Takes the places of answers that have become streams.
    fn release_streams(&self, now: Instant) {
        loop {
            let stream = {
                let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
                match streams.front() {
                    Some((at, stream)) if *at <= now || stream.strong_count() == 0 => {
                        streams.pop_front().map(|(_, stream)| stream)
                    }
                    _ => return,
                }
            };
            // Outside of the lock: giving a place back wakes others.
            if let Some(stream) = stream.and_then(|stream| stream.upgrade()) {
                stream.leave();
            }
        }
    }
}
