//! What all attempts of a call share, and what is said when there is no further one.

use std::time::{Duration, Instant};

use http::header::UPGRADE;
use http::{Request, Response};
use mesh_core::ceiling::Permit;
use mesh_core::error::{ErrorKind, MeshError};
use mesh_core::policy::RetryPolicy;
use mesh_core::report::EndpointHealth;
use mesh_core::retry::{Budget, Failed, Limits, StopReason};
use mesh_core::telemetry::names;

use super::kept::Kept;
use super::replay::Replay;
use super::story::Story;
use crate::body::MeshBody;
use crate::context::{self, CallContext};
use crate::headers::find;
use crate::live_view::BackendView;

/// What is needed to send the request again.
pub(super) struct Head {
    pub(super) method: http::Method,
    uri: http::Uri,
    version: http::Version,
    headers: Kept,
    extensions: http::Extensions,
    /// The body carries the call.
    beside: bool,
    /// It may become a tunnel: nobody can tell what came of one that broke.
    pub(super) upgrade: bool,
}

/// The attempts of one call.
pub(super) struct Calls<'a> {
    pub(super) call: &'a CallContext,
    /// The ceiling on retries is the backend's that the call was routed to.
    pub(super) routed: bool,
    pub(super) policy: Option<&'a RetryPolicy>,
    pub(super) budget: &'a Budget,
    pub(super) head: Head,
    pub(super) replay: Replay,
    pub(super) story: Story,
}

/// How many endpoints are asked for their median.
const ASKED: usize = 16;

// === impl Calls ===

impl Calls<'_> {
    pub(super) fn limits(
        &self,
        failed: Option<&Failed<'_>>,
        answered_in: Option<Duration>,
    ) -> Limits<'_> {
        let unreached = failed.is_some_and(|failed| failed.flags.never_sent);
        Limits {
            policy: self.policy,
            arrived_attempt: self.call.arrived_attempt(),
            deadline: self.call.deadline(),
            expected: usual(self.call).or(answered_in).unwrap_or_default(),
            elsewhere: self.routed && unreached && elsewhere(self.call),
            probe: self.routed && self.call.is_probe() && another(self.call),
        }
    }

    /// The same, for a retry that counts under it. One that is free is the first of its call that an
    /// endpoint sees: a hundred calls that waited for one connection, which is refused, may all go
    /// elsewhere. So may all whose connection broke.
    pub(super) fn place_if(&self, counted: bool) -> Result<Option<Permit>, StopReason> {
        match counted {
            true => self.place(),
            false => Ok(None),
        }
    }

    /// A place under the ceiling on retries in flight; `Ok(None)` where there is no ceiling.
    pub(super) fn place(&self) -> Result<Option<Permit>, StopReason> {
        let Some(chosen) = self.call.chosen().filter(|_| self.routed) else {
            return Ok(None);
        };
        let percent = chosen.backend.policy().budget().percent();
        let place = chosen.backend.state().ceilings().try_retry(percent);
        if place.is_none() {
            chosen.backend.count(names::CEILING_REACHED, "retries");
            return Err(StopReason::Ceiling);
        }
        Ok(place)
    }

    /// The call ends with its last failure.
    pub(super) fn stop(
        self,
        attempt: u32,
        result: Result<Response<MeshBody>, MeshError>,
        took: Duration,
        why: StopReason,
    ) -> Result<Response<MeshBody>, MeshError> {
        note_stop(self.call, &self.replay, why);
        let exhausted = is_exhausted(why, attempt);
        if exhausted {
            context::with(|context| context.exhausted.set());
        }
        match result {
            Ok(mut response) => {
                if exhausted {
                    response.extensions_mut().insert(RetriedBelow(()));
                }
                Ok(response)
            }
            Err(error) => Err(self.story.end(self.call, attempt, error, took, why)),
        }
    }

    /// `replayable` said otherwise, so the body failed between the two.
    pub(super) fn body_failed(
        self,
        attempt: u32,
        took: Duration,
    ) -> Result<Response<MeshBody>, MeshError> {
        let error = MeshError::new(
            ErrorKind::Protocol,
            "the request body failed while it was being sent",
        );
        Err(self
            .story
            .end(self.call, attempt, error, took, StopReason::Body))
    }
}

/// On a failed answer that the client tried again as often as it may: who passes it on says so
/// (chain stop). A server of ours does by itself.
#[derive(Clone, Copy, Debug)]
pub struct RetriedBelow(());

/// Whether callers above are to leave a failure alone: it was tried again here, or would have been
/// but for a limit that protects what is below.
fn is_exhausted(why: StopReason, attempts: u32) -> bool {
    match why {
        StopReason::Attempts => attempts > 1,
        StopReason::Budget | StopReason::Ceiling | StopReason::ChainStop | StopReason::Pushback => {
            true
        }
        _ => false,
    }
}

/// How long an attempt takes as a rule: the mean of the endpoints' medians.
fn usual(call: &CallContext) -> Option<Duration> {
    let set = call.chosen()?.backend.set();
    let medians = set.iter().filter_map(|one| one.ejection().median());
    let (count, sum) = medians
        .take(ASKED)
        .fold((0_u32, Duration::ZERO), |(count, sum), median| {
            (count + 1, sum.saturating_add(median))
        });
    sum.checked_div(count)
}

/// Whether the endpoint of the attempt cannot be reached and one that was not tried can.
fn elsewhere(call: &CallContext) -> bool {
    let Some(chosen) = call.chosen() else {
        return false;
    };
    let backend = chosen.backend.newest();
    let tried = tried(call, &backend);
    let set = backend.set();
    // One that discovery has taken away is not to be reached either.
    let gone = set
        .get(tried[0])
        .is_none_or(|endpoint| !endpoint.is_reachable());
    call.pick(call.attempt()) != 0 && gone && set.is_reachable_but(&tried)
}

/// Whether an endpoint is in rotation that this call has not tried.
fn another(call: &CallContext) -> bool {
    let Some(chosen) = call.chosen() else {
        return false;
    };
    let backend = chosen.backend.newest();
    let tried = tried(call, &backend);
    let mut set = backend.set().iter().enumerate();
    set.any(|(ix, one)| !tried.contains(&ix) && one.health() == EndpointHealth::Available)
}

/// Where the endpoints that the call has tried are in `backend`, the last one first; `usize::MAX` for
/// one that is not there.
fn tried(call: &CallContext, backend: &BackendView) -> [usize; 5] {
    let [a, b, c, d] = call.earlier_picks();
    let picks = [call.pick(call.attempt()), a, b, c, d];
    picks.map(|id| backend.position(id).unwrap_or(usize::MAX))
}

fn note_stop(call: &CallContext, replay: &Replay, why: StopReason) {
    let Some(edge) = call.edge() else { return };
    match why {
        StopReason::NotAFailure | StopReason::NoPolicy => {}
        StopReason::Budget => {
            edge.budget_exhausted();
            edge.retry_refused(why.label());
        }
        StopReason::Body => {
            if replay.is_too_large() {
                edge.body_too_large();
            }
            edge.retry_refused(why.label());
        }
        _ => edge.retry_refused(why.label()),
    }
}

/// The time from then to now.
pub(super) fn since(began: Instant, now: Instant) -> Duration {
    now.saturating_duration_since(began)
}

// === impl Head ===

impl Head {
    pub(super) fn of(request: &Request<MeshBody>) -> Self {
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            headers: Kept::of(request.headers()),
            extensions: request.extensions().clone(),
            beside: request.body().call().is_some(),
            upgrade: find(request.headers(), &UPGRADE).is_some(),
        }
    }

    pub(super) fn request(&self, call: &CallContext, body: MeshBody) -> Request<MeshBody> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = self.version;
        *request.headers_mut() = self.headers.again();
        *request.extensions_mut() = self.extensions.clone();
        // Where the call's context is an extension it has come with the others.
        if self.beside {
            request.body_mut().carry(call.clone());
        }
        request
    }
}
