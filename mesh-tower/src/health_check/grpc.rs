//! `grpc.health.v1`, streamed (gRFC A17).

use std::time::Duration;

use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;
use mesh_core::classify;
use mesh_core::health::Verdict;
use mesh_core::health::grpc::{self as wire, Serving, WATCH};

use super::probe::UNIMPLEMENTED;
use super::task::{Failure, Subject, Turn};
use crate::body::MeshBody;

/// An answer of the health service, message by message.
pub(super) struct Answer {
    body: MeshBody,
    buffer: Vec<u8>,
    status: Option<u32>,
    ended: bool,
}

/// Starts a call.
pub(super) async fn call(
    subject: &mut Subject,
    path: &'static str,
    service: &str,
) -> Result<Answer, Failure> {
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, "mesh-health-check")
        .body(MeshBody::full(wire::request(service)))
        .map_err(|error| Failure::from(format!("{path}: {error}")))?;
    let response = subject.pool().call(request).await?;
    let status = match response.status() {
        StatusCode::OK => classify::grpc::status(response.headers()),
        // Not gRPC at all: gRPC's own mapping of HTTP statuses.
        StatusCode::NOT_FOUND => Some(UNIMPLEMENTED),
        other => return Err(format!("HTTP status {other}").into()),
    };
    Ok(Answer {
        body: response.into_body(),
        buffer: Vec::new(),
        ended: status.is_some(),
        status,
    })
}

/// Follows the state that the server streams. Returns when it does not implement that.
pub(super) async fn watch(subject: &mut Subject, service: &str) {
    let mut failures = 0;
    loop {
        let Some(turn) = subject.turn().await else {
            return;
        };
        let began = tokio::time::Instant::now();
        let Err((failure, answered)) = follow(subject, service, turn).await else {
            subject.say("health is asked for by Check: Watch is not implemented");
            return;
        };
        if answered {
            // A17: a stream that said something is opened anew without a back-off, at most once a
            // second. Only when that fails is its end held against the endpoint.
            failures = 0;
            subject.pool = None;
            let least = wire::pause(0).saturating_sub(began.elapsed());
            tokio::time::sleep(least.max(Duration::from_millis(10))).await;
            continue;
        }
        subject.failed(&failure);
        let pause = subject.jittered(wire::pause(failures));
        failures = failures.saturating_add(1);
        tokio::time::sleep(pause.min(subject.policy.interval().max(wire::pause(0)))).await;
    }
}

/// One stream. `Ok` means that there can be none; else why it ended, and whether it had said
/// anything.
async fn follow(subject: &mut Subject, service: &str, turn: Turn) -> Result<(), (Failure, bool)> {
    let limit = subject.policy.timeout();
    let first = async {
        let mut answer = call(subject, WATCH, service).await?;
        let first = answer.next().await?;
        Ok::<_, Failure>((answer, first))
    };
    let (mut answer, mut state) = match tokio::time::timeout(limit, first).await {
        Ok(first) => first.map_err(|failure| (failure, false))?,
        Err(_) => {
            let failure = Failure::from(format!("no answer within {limit:?}"));
            return Err((failure, false));
        }
    };
    // From here on it costs a stream, not an effort.
    drop(turn);
    let mut answered = false;
    loop {
        match state {
            Some(Serving::Yes) => subject.found(Verdict::Serving, "SERVING"),
            Some(Serving::No) => subject.found(Verdict::NotServing, "it says NOT_SERVING"),
            None if answer.status == Some(UNIMPLEMENTED) && !answered => return Ok(()),
            None => return Err((answer.failure(), answered)),
        }
        answered = true;
        state = answer.next().await.map_err(|failure| (failure, true))?;
    }
}

// === impl Answer ===

impl Answer {
    /// The next state; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Serving>, Failure> {
        loop {
            let taken = wire::take(&mut self.buffer);
            if let Some(state) = taken.map_err(|what| Failure::from(what.to_owned()))? {
                return Ok(Some(state));
            }
            if self.ended {
                return Ok(None);
            }
            let frame = match self.body.frame().await {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Err(format!("the stream broke: {error}").into()),
                None => {
                    self.ended = true;
                    continue;
                }
            };
            if let Some(trailers) = frame.trailers_ref() {
                self.ended(trailers);
            } else if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }

    fn ended(&mut self, trailers: &HeaderMap) {
        self.ended = true;
        self.status = classify::grpc::status(trailers).or(self.status);
    }

    /// Its gRPC status, once there is one.
    pub(super) fn status(&self) -> Option<u32> {
        self.status
    }

    /// Why it ended without a state.
    pub(super) fn failure(&self) -> Failure {
        match self.status {
            Some(status) => format!("gRPC status {status}").into(),
            None => "the answer ended without a status".to_owned().into(),
        }
    }
}
