use std::future::Future;
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use mesh_core::ceiling::Permit;
use mesh_core::error::MeshError;
use mesh_core::hedge::Hedger;
use mesh_core::policy::RetryPolicy;
use mesh_core::retry::{Budget, Verdict, may_retry};
use tower_service::Service;

use super::calls::{Calls, Head, since};
use super::hedged;
use super::replay::{KEPT, Replay};
use super::settle::{Settled, failed, may_peek, peek, settle};
use super::story::Story;
use crate::BoxError;
use crate::body::MeshBody;
use crate::context::CallContext;
use crate::metrics::Ended;
use crate::stack::into_mesh_error;

/// By what attempts are repeated.
pub(crate) enum Rules<'a> {
    /// One policy and budget for all calls.
    Fixed {
        policy: Option<&'a RetryPolicy>,
        budget: &'a Budget,
        /// Hedged instead, for a call that may be.
        hedger: Option<&'a Hedger>,
    },
    /// Those of the route and the service that the call has pinned.
    Routed,
}

/// Makes attempts until one is good enough or no other may be made. The first begins at once: the
/// request would be copied into the future and out again.
pub(crate) fn run<'a, S, R>(
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
        let hedger = match (&rules, call.chosen()) {
            (Rules::Fixed { hedger, .. }, _) => *hedger,
            (Rules::Routed, Some(chosen)) => chosen
                .backend
                .hedger()
                .map(|hedger| &**hedger)
                .filter(|hedger| hedger.allows(&head.method)),
            (Rules::Routed, None) => None,
        };
        let routed = matches!(rules, Rules::Routed);
        if let Some(hedger) = hedger.filter(|_| !replay.is_known_too_large() && !head.upgrade) {
            let (policy, budget) = resolve(&rules, &call, &mut unrouted);
            let calls = Calls {
                call: &call,
                routed,
                policy,
                budget,
                head,
                replay,
                story: Story::default(),
            };
            return Box::pin(hedged::run(calls, service, first, began, hedger)).await;
        }
        let result = first.await;
        let (policy, budget) = resolve(&rules, &call, &mut unrouted);
        let mut settled = settle(&call, policy, result);
        if policy.is_some() && may_peek(&call, &replay, &settled) {
            settled = Box::pin(peek_open(policy, settled)).await;
        }
        match settled {
            Settled::Final(result) => result,
            Settled::Failed(ended, result) => {
                let calls = Calls {
                    call: &call,
                    routed,
                    policy: policy.filter(|_| !head.upgrade),
                    budget,
                    head,
                    replay,
                    story: Story::default(),
                };
                // Boxed: a future is as large as its largest state, and a call whose first attempt
                // is good must not carry the room for others.
                Box::pin(again(calls, service, began, ended, result)).await
            }
        }
    }
}

/// The policy and the budget of a call.
fn resolve<'a>(
    rules: &'a Rules<'_>,
    call: &'a CallContext,
    unrouted: &'a mut Option<Box<Budget>>,
) -> (Option<&'a RetryPolicy>, &'a Budget) {
    match (rules, call.chosen()) {
        (Rules::Fixed { policy, budget, .. }, _) => (*policy, *budget),
        (Rules::Routed, Some(chosen)) => {
            let policy = chosen.route.as_ref().and_then(|route| route.retry());
            (policy, &chosen.service.state().budget)
        }
        (Rules::Routed, None) => (None, &**unrouted.get_or_insert_default()),
    }
}

/// [`peek`] at an answer that is still open.
pub(super) async fn peek_open(policy: Option<&RetryPolicy>, settled: Settled) -> Settled {
    match settled {
        Settled::Final(Ok(response)) => peek(policy, response).await,
        other => other,
    }
}

/// Makes further attempts after a first that failed.
async fn again<S, R>(
    mut calls: Calls<'_>,
    mut service: S,
    mut began: Instant,
    mut ended: Ended,
    mut result: Result<Response<MeshBody>, MeshError>,
) -> Result<Response<MeshBody>, MeshError>
where
    S: Service<Request<MeshBody>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let call = calls.call;
    // The place of a retry under its ceiling, from the decision to its answer.
    let mut retrying: Option<Permit> = None;
    let mut attempt = 1;
    loop {
        let now = call.tick();
        let took = since(began, now);
        let failed = failed(&calls.head.method, attempt, &calls.replay, ended, &result);
        let limits = calls.limits(Some(&failed), result.is_ok().then_some(took));
        // The retry that has just failed is over.
        drop(retrying.take());
        let mut rng = fastrand::Rng::new();
        let verdict = may_retry(&failed, &limits, calls.budget, now, &mut rng);
        let never_sent = failed.flags.never_sent;
        let (pause, reason) = match verdict {
            Verdict::Retry {
                pause,
                reason,
                paid,
                counted,
            } => match calls.place_if(counted) {
                Ok(place) => {
                    retrying = place;
                    (pause, reason)
                }
                Err(why) => {
                    if paid {
                        calls.budget.refund(now);
                    }
                    return calls.stop(attempt, result, took, why);
                }
            },
            Verdict::Stop(why) => return calls.stop(attempt, result, took, why),
        };
        let error = result.as_ref().err();
        calls.story.add(call, attempt, ended, error, took);
        // An answer that is not wanted is dropped before the pause: it holds a connection.
        drop(result);
        let Some(body) = calls.replay.again() else {
            return calls.body_failed(attempt, took);
        };
        if never_sent {
            call.not_sent();
        }
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
        let next = service.call(calls.head.request(call, body)).await;
        let mut settled = settle(call, calls.policy, next);
        if calls.policy.is_some() && may_peek(call, &calls.replay, &settled) {
            settled = peek_open(calls.policy, settled).await;
        }
        match settled {
            Settled::Final(result) => return result,
            Settled::Failed(how, failed) => (ended, result) = (how, failed),
        }
    }
}
