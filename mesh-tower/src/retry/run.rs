use std::future::Future;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use mesh_core::ceiling::Permit;
use mesh_core::classify::{self, Class, grpc::Pushback};
use mesh_core::error::{Flags, MeshError};
use mesh_core::policy::RetryPolicy;
use mesh_core::retry::{Budget, Failed, Limits, RetryReason, StopReason, Verdict, may_retry};
use mesh_core::telemetry::names;
use tower_service::Service;

use super::kept::Kept;
use super::replay::{KEPT, Replay};
use super::story::Story;
use crate::BoxError;
use crate::body::MeshBody;
use crate::context::CallContext;
use crate::endpoint::retry_after;
use crate::metrics::Ended;
use crate::stack::into_mesh_error;

/// By what attempts are repeated.
pub(super) enum Rules<'a> {
    /// One policy and budget for all calls.
    Fixed {
        policy: Option<&'a RetryPolicy>,
        budget: &'a Budget,
    },
    /// Those of the route and the service that the call has pinned.
    Routed,
}

/// What is needed to send the request again.
struct Head {
    method: http::Method,
    uri: http::Uri,
    version: http::Version,
    headers: Kept,
    extensions: http::Extensions,
    /// The body carries the call.
    beside: bool,
}

/// Makes attempts until one is good enough or no other may be made. The first begins at once: the
/// request would be copied into the future and out again.
pub(super) fn run<'a, S, R>(
    mut service: S,
    mut request: Request<MeshBody>,
    rules: Rules<'a>,
) -> impl Future<Output = Result<Response<MeshBody>, MeshError>> + use<'a, S, R>
where
    S: Service<Request<MeshBody>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let call = CallContext::of(&mut request);
    let began = call.now();
    let mut unrouted = match (&rules, call.chosen()) {
        (Rules::Fixed { budget, .. }, _) => {
            budget.deposit(began);
            None
        }
        (Rules::Routed, Some(chosen)) => {
            chosen.service.state().budget.deposit(began);
            None
        }
        (Rules::Routed, None) => {
            let budget = Box::<Budget>::default();
            budget.deposit(began);
            Some(budget)
        }
    };
    let head = Head::of(&request);
    let replay = Replay::new(request.body_mut(), KEPT);
    call.set_attempt(1);
    call.clear_pick();
    let first = service.call(request);
    async move {
        let result = first.await;
        let (policy, budget) = match (&rules, call.chosen()) {
            (Rules::Fixed { policy, budget }, _) => (*policy, *budget),
            (Rules::Routed, Some(chosen)) => {
                let policy = chosen.route.as_ref().and_then(|route| route.retry());
                (policy, &chosen.service.state().budget)
            }
            (Rules::Routed, None) => (None, &**unrouted.get_or_insert_default()),
        };
        match settle(&call, policy, result) {
            Settled::Final(result) => result,
            Settled::Failed(ended, result) => {
                let calls = Calls {
                    call: &call,
                    routed: matches!(rules, Rules::Routed),
                    policy,
                    budget,
                    head,
                    replay,
                };
                // Boxed: a future is as large as its largest state, and a call whose first attempt
                // is good must not carry the room for others.
                Box::pin(calls.again(service, began, ended, result)).await
            }
        }
    }
}

/// What an attempt came to.
enum Settled<R> {
    /// The caller's answer: good, or a gRPC stream whose status is still to come.
    Final(Result<Response<MeshBody>, MeshError>),
    /// Another attempt may do better.
    Failed(Ended, Result<Response<R>, MeshError>),
}

fn settle<R, E>(
    call: &CallContext,
    policy: Option<&RetryPolicy>,
    result: Result<Response<R>, E>,
) -> Settled<R>
where
    E: Into<BoxError>,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    match result {
        Ok(response) => match Ended::head(call.is_grpc(), &response) {
            Some(ended) if ended.class.is_failure() || retries(policy, ended) => {
                Settled::Failed(ended, Ok(response))
            }
            _ => Settled::Final(Ok(response.map(MeshBody::new))),
        },
        Err(error) => {
            let error = into_mesh_error(error);
            Settled::Failed(Ended::error(&error), Err(error))
        }
    }
}

/// Whether a policy may want to repeat an answer that is no failure.
fn retries(policy: Option<&RetryPolicy>, ended: Ended) -> bool {
    policy.is_some_and(|policy| {
        ended.class != Class::Success
            || u16::try_from(ended.code).is_ok_and(|status| policy.retries_status(status))
    })
}

/// The attempts of one call.
struct Calls<'a> {
    call: &'a CallContext,
    /// The ceiling on retries is the backend's that the call was routed to.
    routed: bool,
    policy: Option<&'a RetryPolicy>,
    budget: &'a Budget,
    head: Head,
    replay: Replay,
}

impl Calls<'_> {
    /// Makes further attempts after a first that failed.
    async fn again<S, R>(
        self,
        mut service: S,
        mut began: Instant,
        mut ended: Ended,
        mut result: Result<Response<R>, MeshError>,
    ) -> Result<Response<MeshBody>, MeshError>
    where
        S: Service<Request<MeshBody>, Response = Response<R>> + Clone,
        S::Error: Into<BoxError>,
        R: Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let Self {
            call,
            routed,
            policy,
            budget,
            head,
            replay,
        } = self;
        let mut story = Story::default();
        // The place of a retry under its ceiling, from the decision to its answer.
        let mut retrying: Option<Permit> = None;
        let mut attempt = 1;
        loop {
            let now = call.tick();
            let took = now.saturating_duration_since(began);
            let failed = failed(&head.method, attempt, &replay, ended, &result);
            let limits = Limits {
                policy,
                arrived_attempt: call.arrived_attempt(),
                deadline: call.deadline(),
                expected: expected(call, now, result.is_ok().then_some(took)),
                elsewhere: routed && failed.flags.never_sent && elsewhere(call),
            };
            // The retry that has just failed is over.
            drop(retrying.take());
            let mut verdict = may_retry(&failed, &limits, budget, now, &mut fastrand::Rng::new());
            if let Verdict::Retry { paid, reason, .. } = verdict
                && routed
                // A refused stream has freed what its repetition takes.
                && (paid || reason != RetryReason::Refused)
                && let Some(chosen) = call.chosen()
            {
                let percent = chosen.backend.policy().budget().percent();
                retrying = chosen.backend.state().ceilings().try_retry(percent);
                if retrying.is_none() {
                    if paid {
                        budget.refund(now);
                    }
                    chosen.backend.count(names::CEILING_REACHED, "retries");
                    verdict = Verdict::Stop(StopReason::Ceiling);
                }
            }
            let (pause, reason) = match verdict {
                Verdict::Retry { pause, reason, .. } => (pause, reason),
                Verdict::Stop(why) => {
                    note_stop(call, &replay, why);
                    return match result {
                        Ok(response) => Ok(response.map(MeshBody::new)),
                        Err(error) => Err(story.end(call, attempt, error, took, why)),
                    };
                }
            };
            story.add(call, attempt, ended, result.as_ref().err(), took);
            // An answer that is not wanted is dropped before the pause: it holds a connection.
            drop(result);
            let Some(body) = replay.again() else {
                // `replayable` said otherwise, so the body failed between the two.
                let error = MeshError::new(
                    mesh_core::error::ErrorKind::Protocol,
                    "the request body failed while it was being sent",
                );
                return Err(story.end(call, attempt, error, took, StopReason::Body));
            };
            if let Some(edge) = call.edge() {
                edge.retry(reason.label());
            }
            tracing::debug!(attempt, reason = reason.label(), ?pause, "trying again");
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            attempt += 1;
            call.set_attempt(attempt);
            call.clear_pick();
            began = call.tick();
            // A clone of a service that was ready need not be.
            std::future::poll_fn(|cx| service.poll_ready(cx))
                .await
                .map_err(into_mesh_error)?;
            let next = service.call(head.request(call, body)).await;
            match settle(call, policy, next) {
                Settled::Final(result) => return result,
                Settled::Failed(how, failed) => (ended, result) = (how, failed),
            }
        }
    }
}

fn failed<'a, R>(
    method: &'a http::Method,
    attempts: u32,
    replay: &Replay,
    ended: Ended,
    result: &Result<Response<R>, MeshError>,
) -> Failed<'a> {
    let mut flags = Flags::default();
    let (mut status, mut grpc, mut pushback) = (None, None, None);
    match result {
        Ok(response) => {
            if ended.code >= Ended::GRPC_OK {
                grpc = Some(ended.code - Ended::GRPC_OK);
            } else {
                status = Some(response.status().as_u16());
            }
            pushback = classify::grpc::pushback(response.headers())
                .or_else(|| retry_after(response.headers()).map(Pushback::After));
            // The callee's mesh says that it did not let the request through.
            flags.refused = refused_by_mesh(response);
        }
        Err(error) => {
            flags = error.flags();
            pushback = pushback.or(error.retry_after().map(Pushback::After));
        }
    }
    Failed {
        class: ended.class,
        status,
        grpc,
        flags,
        method,
        attempts,
        replayable: replay.can_again(),
        pushback,
    }
}

/// Whether the callee's mesh answered that it has not passed the request on.
fn refused_by_mesh<R>(response: &Response<R>) -> bool {
    use mesh_core::error::ErrorKind;
    matches!(
        classify::http::mesh_reason(response.headers()),
        Some(ErrorKind::Draining | ErrorKind::Overloaded)
    )
}

/// How long an attempt takes as a rule: the best latency estimate of the endpoints, or what the
/// last answer took while there is none.
fn expected(call: &CallContext, now: Instant, answered_in: Option<Duration>) -> Duration {
    let best = call.chosen().and_then(|chosen| {
        chosen
            .backend
            .set()
            .iter()
            .filter_map(|endpoint| endpoint.est(now))
            .min()
    });
    // The penalty of a failure is no latency of an attempt.
    best.filter(|estimate| *estimate < Duration::from_secs(1))
        .or(answered_in)
        .unwrap_or_default()
}

/// Whether the endpoint of the attempt cannot be reached and one that was not tried can.
fn elsewhere(call: &CallContext) -> bool {
    let Some(chosen) = call.chosen() else {
        return false;
    };
    let backend = chosen.backend.newest();
    let position = |id| backend.position(id).unwrap_or(usize::MAX);
    let picked = call.pick(call.attempt());
    let last = position(picked);
    let [a, b, c, d] = call.earlier_picks().map(position);
    let set = backend.set();
    // One that discovery has taken away is not to be reached either.
    let gone = set
        .get(last)
        .is_none_or(|endpoint| !endpoint.is_reachable());
    picked != 0 && gone && set.is_reachable_but(&[last, a, b, c, d])
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

// === impl Head ===

impl Head {
    fn of(request: &Request<MeshBody>) -> Self {
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            headers: Kept::of(request.headers()),
            extensions: request.extensions().clone(),
            beside: request.body().call().is_some(),
        }
    }

    fn request(&self, call: &CallContext, body: MeshBody) -> Request<MeshBody> {
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
