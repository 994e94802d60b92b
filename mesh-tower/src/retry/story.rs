use std::net::SocketAddr;
use std::time::Duration;

use mesh_core::error::{AttemptRecord, ErrorKind, MeshError};
use mesh_core::retry::StopReason;

use crate::context::CallContext;
use crate::metrics::Ended;

/// What was tried, for the error that a call may end with. Empty, and so without cost, until an
/// attempt fails.
#[derive(Default)]
pub(super) struct Story {
    attempts: Vec<AttemptRecord>,
    /// What the attempts before the last failed of, as far as they failed of an error of ours.
    kinds: Vec<ErrorKind>,
}

// === impl Story ===

impl Story {
    /// Adds an attempt that will be followed by another.
    pub(super) fn add(
        &mut self,
        call: &CallContext,
        number: u32,
        ended: Ended,
        error: Option<&MeshError>,
        after: Duration,
    ) {
        let outcome = match error {
            Some(error) => {
                self.kinds.push(error.kind());
                error.message().to_owned()
            }
            None => ended.text(),
        };
        self.attempts.push(AttemptRecord {
            number,
            endpoint: endpoint(call, number),
            outcome,
            after,
        });
    }

    /// The error that the call ends with: the last one, with all that was tried.
    pub(super) fn end(
        mut self,
        call: &CallContext,
        number: u32,
        error: MeshError,
        after: Duration,
        why: StopReason,
    ) -> MeshError {
        let error = with_policy(call, error);
        if self.attempts.is_empty() && endpoint(call, number).is_none() {
            return error;
        }
        self.attempts.push(AttemptRecord {
            number,
            endpoint: endpoint(call, number),
            outcome: error.message().to_owned(),
            after,
        });
        if !matches!(
            why,
            StopReason::NotAFailure | StopReason::NoPolicy | StopReason::Attempts
        ) {
            self.attempts.push(AttemptRecord {
                number: number.saturating_add(1),
                endpoint: None,
                outcome: format!("not made: {why}"),
                after: Duration::ZERO,
            });
        }
        if why == StopReason::Attempts && self.says_more_than(&error) {
            return self.none_could_serve(call, error);
        }
        error.with_attempts(self.attempts)
    }

    /// Whether "no endpoint could serve the call" says more than the last error. Where each
    /// attempt failed of the same broken trust, that is the fault, and its code has the next step.
    fn says_more_than(&self, last: &MeshError) -> bool {
        let trust = matches!(last.kind(), ErrorKind::Tls | ErrorKind::Identity);
        let same = self.kinds.iter().all(|kind| *kind == last.kind());
        last.is_connect() && !self.kinds.is_empty() && !(trust && same)
    }

    /// Several endpoints were tried and none could be reached: that is more than the last error.
    fn none_could_serve(self, call: &CallContext, last: MeshError) -> MeshError {
        let now = crate::runtime::now();
        let took = now.saturating_duration_since(call.started());
        let mut tried: Vec<_> = self
            .attempts
            .iter()
            .map(|one| one.outcome.as_str())
            .collect();
        tried.dedup();
        let out = call.chosen().map_or(0, |chosen| {
            chosen
                .backend
                .set()
                .iter()
                .filter(|endpoint| !endpoint.is_available(now))
                .count()
        });
        let message = format!(
            "no endpoint could serve the call in {took:.1?}: {} tried ({}), {out} out of rotation",
            self.attempts.len(),
            tried.join(", "),
        );
        let mut error = MeshError::new(ErrorKind::Ejected, message)
            .with_flags(last.flags())
            .with_attempts(self.attempts.clone());
        for (label, text) in last.notes() {
            error = error.with_note(label.clone(), text.clone());
        }
        if let Some(chosen) = call.chosen() {
            error = error.with_service(chosen.service.name());
        }
        error.with_source(last)
    }
}

fn endpoint(call: &CallContext, number: u32) -> Option<SocketAddr> {
    let id = call.pick(number);
    if id == 0 {
        return None;
    }
    let chosen = call.chosen()?;
    let latest = chosen.backend.state().latest().borrow().clone();
    [Some(chosen.backend.clone()), latest]
        .into_iter()
        .flatten()
        .find_map(|backend| {
            let ix = backend.position(id)?;
            Some(backend.set().get(ix)?.addr())
        })
}

fn with_policy(call: &CallContext, error: MeshError) -> MeshError {
    let Some(chosen) = call.chosen() else {
        return error;
    };
    let error = error.with_service(chosen.service.name());
    match &chosen.route {
        Some(route) => error.with_note(
            "policy",
            format!("{} (rev {})", route.origin(), chosen.service.revision()),
        ),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(before: &[ErrorKind], last: ErrorKind) -> bool {
        let story = Story {
            kinds: before.to_vec(),
            ..Story::default()
        };
        story.says_more_than(&MeshError::new(last, "x"))
    }

    #[test]
    fn the_same_broken_trust_everywhere_keeps_its_own_code() {
        use ErrorKind::{Connect, Deadline, Identity, Tls};
        assert!(!told(&[Identity, Identity], Identity));
        assert!(!told(&[Tls], Tls));
        // A mixture, and what is merely down, is "no endpoint could serve the call".
        assert!(told(&[Connect, Identity], Identity));
        assert!(told(&[Connect], Connect));
        // One attempt, or an end that has nothing to do with connecting, is what it is.
        assert!(!told(&[], Connect));
        assert!(!told(&[Connect], Deadline));
    }
}
