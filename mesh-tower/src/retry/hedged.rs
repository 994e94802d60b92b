//! The attempts of a call that is hedged: several at a time, the first good answer wins.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use mesh_core::ceiling::Permit;
use mesh_core::error::MeshError;
use mesh_core::hedge::{Hedger, Next, after_failure, may_hedge};
use mesh_core::retry::StopReason;
use tokio::time::Sleep;
use tower_service::Service;

use super::calls::{Calls, since};
use super::run::peek_open;
use super::settle::{Settled, failed, may_peek, settle};
use crate::BoxError;
use crate::body::MeshBody;
use crate::metrics::Ended;
use crate::stack::into_mesh_error;

/// An attempt in flight. Dropped, it is cancelled, and its endpoint's guard says so.
struct Flight<F> {
    attempt: u32,
    began: Instant,
    future: Pin<Box<F>>,
    _place: Option<Permit>,
}

/// What happened next.
enum Happened<T> {
    Answered(usize, T),
    Due,
}

/// The last failure, for when nothing better comes.
struct Last {
    attempt: u32,
    result: Result<Response<MeshBody>, MeshError>,
    took: Duration,
}

/// An attempt to be made when its service is ready, or one that was begun.
enum Begin<F> {
    Begun(F),
    Send(Box<Request<MeshBody>>),
}

async fn fly<S, R>(mut service: S, begin: Begin<S::Future>) -> Result<Response<R>, MeshError>
where
    S: Service<Request<MeshBody>, Response = Response<R>>,
    S::Error: Into<BoxError>,
{
    let request = match begin {
        Begin::Begun(begun) => return begun.await.map_err(into_mesh_error),
        Begin::Send(request) => *request,
    };
    std::future::poll_fn(|cx| service.poll_ready(cx))
        .await
        .map_err(into_mesh_error)?;
    service.call(request).await.map_err(into_mesh_error)
}

pub(super) async fn run<S, R>(
    mut calls: Calls<'_>,
    service: S,
    first: S::Future,
    began: Instant,
    hedger: &Hedger,
) -> Result<Response<MeshBody>, MeshError>
where
    S: Service<Request<MeshBody>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let call = calls.call;
    let delay = hedger.begin(began);
    let mut timer: Option<Pin<Box<Sleep>>> = delay.map(|delay| Box::pin(tokio::time::sleep(delay)));
    let mut flights = vec![Flight {
        attempt: 1,
        began,
        future: Box::pin(fly(service.clone(), Begin::Begun(first))),
        _place: None,
    }];
    let mut attempts = 1;
    let mut last: Option<Last> = None;
    loop {
        let happened = std::future::poll_fn(|cx| poll(&mut flights, &mut timer, cx)).await;
        let now = call.tick();
        let start: Result<Option<Permit>, StopReason> = match happened {
            Happened::Due => {
                timer = None;
                let limits = calls.limits(None, None);
                let allowed = match &last {
                    // The wait that a server asked for is over.
                    Some(_) => Ok(()),
                    None => may_hedge(hedger, attempts, &limits, now),
                };
                let place =
                    allowed.and_then(|()| calls.place().inspect_err(|_| hedger.refund(now)));
                if let Some(edge) = call.edge() {
                    match &place {
                        Ok(_) => edge.hedge("sent"),
                        Err(why) => edge.hedge(why.label()),
                    }
                }
                place
            }
            Happened::Answered(ix, result) => {
                let flight = flights.swap_remove(ix);
                let mut settled = settle(call, calls.policy, result);
                if may_peek(call, &calls.replay, &settled) {
                    settled = peek_open(calls.policy, settled).await;
                }
                let (ended, result) = match settled {
                    Settled::Final(result) => {
                        return won(&calls, flight.attempt, result);
                    }
                    Settled::Failed(ended, result) if !ended.class.is_failure() => {
                        // An answer about the request: no other attempt would have a better one.
                        return won(&calls, flight.attempt, result);
                    }
                    Settled::Failed(ended, result) => (ended, result),
                };
                let took = since(flight.began, now);
                let next = decide(&calls, hedger, attempts, ended, &result, now);
                if let Some(Last {
                    attempt,
                    result,
                    took,
                }) = last.take()
                {
                    calls.story.add(
                        call,
                        attempt,
                        ended_of(call, &result),
                        result.as_ref().err(),
                        took,
                    );
                }
                last = Some(Last {
                    attempt: flight.attempt,
                    result,
                    took,
                });
                match next {
                    Next::AtOnce(place) => {
                        if let Some(edge) = call.edge() {
                            edge.retry("hedge");
                        }
                        Ok(place)
                    }
                    Next::After(wait, place) => {
                        timer = Some(Box::pin(tokio::time::sleep(wait)));
                        drop(place);
                        continue;
                    }
                    Next::Stop(why) => {
                        if why == StopReason::Pushback {
                            // What is in flight goes on; nothing is added.
                            timer = None;
                            attempts = u32::MAX;
                        }
                        Err(why)
                    }
                }
            }
        };
        match start {
            Ok(place) => {
                let Some(body) = calls.replay.copy() else {
                    // Still being read by an attempt in flight, which goes on.
                    if flights.is_empty() {
                        return finish(calls, last, StopReason::Body);
                    }
                    continue;
                };
                attempts = attempts.saturating_add(1);
                call.set_attempt(attempts);
                call.clear_pick();
                let request = Box::new(calls.head.request(call, body));
                flights.push(Flight {
                    attempt: attempts,
                    began: now,
                    future: Box::pin(fly(service.clone(), Begin::Send(request))),
                    _place: place,
                });
                if let (Some(delay), true) = (delay, attempts < hedger.attempts()) {
                    timer = Some(Box::pin(tokio::time::sleep(delay)));
                }
            }
            // An empty budget cancels nothing: what is in flight goes on.
            Err(why) if flights.is_empty() && timer.is_none() => return finish(calls, last, why),
            Err(_) => {}
        }
    }
}

fn poll<F: Future>(
    flights: &mut [Flight<F>],
    timer: &mut Option<Pin<Box<Sleep>>>,
    cx: &mut Context<'_>,
) -> Poll<Happened<F::Output>> {
    for (ix, flight) in flights.iter_mut().enumerate() {
        if let Poll::Ready(result) = flight.future.as_mut().poll(cx) {
            return Poll::Ready(Happened::Answered(ix, result));
        }
    }
    match timer {
        Some(timer) => timer.as_mut().poll(cx).map(|()| Happened::Due),
        None => Poll::Pending,
    }
}

fn decide(
    calls: &Calls<'_>,
    hedger: &Hedger,
    attempts: u32,
    ended: Ended,
    result: &Result<Response<MeshBody>, MeshError>,
    now: Instant,
) -> Next<Option<Permit>> {
    let failed = failed(&calls.head.method, attempts, &calls.replay, ended, result);
    let limits = calls.limits(Some(&failed), None);
    let mut rng = fastrand::Rng::new();
    let next = after_failure(hedger, &failed, &limits, calls.budget, now, &mut rng);
    let place = match &next {
        Next::Stop(_) => Ok(None),
        _ => calls.place_if(!failed.is_requeue()),
    };
    match (next, place) {
        (Next::Stop(why), _) => Next::Stop(why),
        (_, Err(why)) => {
            calls.budget.refund(now);
            Next::Stop(why)
        }
        (Next::AtOnce(()), Ok(place)) => Next::AtOnce(place),
        (Next::After(wait, ()), Ok(place)) => Next::After(wait, place),
    }
}

fn ended_of(
    call: &crate::context::CallContext,
    result: &Result<Response<MeshBody>, MeshError>,
) -> Ended {
    match result {
        Ok(response) => Ended::head(call.is_grpc(), response).unwrap_or_else(|| Ended::grpc(2)),
        Err(error) => Ended::error(error),
    }
}

/// The others are cancelled when they are dropped.
fn won(
    calls: &Calls<'_>,
    attempt: u32,
    result: Result<Response<MeshBody>, MeshError>,
) -> Result<Response<MeshBody>, MeshError> {
    if attempt > 1
        && let Some(edge) = calls.call.edge()
    {
        edge.hedge("won");
    }
    result
}

fn finish(
    calls: Calls<'_>,
    last: Option<Last>,
    why: StopReason,
) -> Result<Response<MeshBody>, MeshError> {
    match last {
        Some(Last {
            attempt,
            result,
            took,
        }) => calls.stop(attempt, result, took, why),
        None => calls.body_failed(1, Duration::ZERO),
    }
}
