use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use mesh_core::{
    context::{Criticality, Deadline, RequestContext},
    error::{ErrorKind, MeshError},
    overload::Ticket,
};
use pin_project_lite::pin_project;
use tokio::{sync::oneshot, time::Sleep};
use tower_service::Service;

use super::{
    Entrance,
    entrance::{Arrived, Reason, Told},
    place::Place,
    room::Permit,
};
use crate::{BoxError, body::MeshBody, runtime, stack::into_mesh_error};

/// A call that has come to an entrance.
pub(crate) struct Entered<'a> {
    entrance: &'a Arc<Entrance>,
    room: Option<Permit>,
    level: Criticality,
}

pin_project! {
    /// Future of [`Overload`](super::Overload): waits if it must, then calls.
    pub struct OverloadFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B>,
        room: Option<Permit>,
        deadline: Option<Deadline>,
    }
}

pin_project! {
    #[project = Project]
    enum State<S, B>
    where
        S: Service<Request<B>>,
    {
        Working {
            #[pin]
            inner: S::Future,
            work: Work,
        },
        Waiting {
            // Rare, and large: behind a pointer.
            waiting: Box<Waiting<S, B>>,
        },
        Refused {
            error: Option<MeshError>,
        },
    }
}

struct Waiting<S, B> {
    service: S,
    request: Option<Request<B>>,
    queued: Queued,
    told: oneshot::Receiver<Told>,
    level: Criticality,
    longest: Pin<Box<Sleep>>,
}

/// A place in the queue, given up on drop.
struct Queued {
    entrance: Arc<Entrance>,
    ticket: Ticket,
}

/// The place of a call that is not answered yet.
struct Work {
    place: Option<Place>,
    deadline: Option<Deadline>,
}

// === impl Entered ===

impl<'a> Entered<'a> {
    pub(crate) fn new(
        entrance: &'a Arc<Entrance>,
        room: Option<Permit>,
        level: Criticality,
    ) -> Self {
        Self {
            entrance,
            room,
            level,
        }
    }

    /// Calls a service that is ready, at once or when there is a place.
    pub(crate) fn call<S, B>(self, service: &mut S, request: Request<B>) -> OverloadFuture<S, B>
    where
        S: Service<Request<B>> + Clone,
    {
        let deadline = request
            .extensions()
            .get::<RequestContext>()
            .and_then(RequestContext::held_to);
        let state = match self.entrance.arrive(self.level) {
            Arrived::Enter(place) => State::Working {
                inner: service.call(request),
                work: Work {
                    place: Some(place),
                    deadline: deadline.clone(),
                },
            },
            Arrived::Wait(ticket, told) => {
                // The one that is ready waits; the clone takes its place.
                let clone = service.clone();
                State::Waiting {
                    waiting: Box::new(Waiting {
                        service: std::mem::replace(service, clone),
                        request: Some(request),
                        queued: Queued {
                            entrance: self.entrance.clone(),
                            ticket,
                        },
                        told,
                        level: self.level,
                        longest: Box::pin(tokio::time::sleep(self.entrance.longest_wait())),
                    }),
                }
            }
            Arrived::Refused(error) => State::Refused { error: Some(error) },
        };
        OverloadFuture {
            state,
            room: self.room,
            deadline,
        }
    }
}

// === impl OverloadFuture ===

impl<S, B> OverloadFuture<S, B>
where
    S: Service<Request<B>>,
{
    pub(crate) fn refused(error: MeshError) -> Self {
        Self {
            state: State::Refused { error: Some(error) },
            room: None,
            deadline: None,
        }
    }
}

impl<S, B> Future for OverloadFuture<S, B>
where
    S: Service<Request<B>, Response = Response<MeshBody>>,
    S::Error: Into<BoxError>,
{
    type Output = Result<Response<MeshBody>, MeshError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                Project::Working { inner, work } => {
                    let result = ready!(inner.poll(cx)).map_err(into_mesh_error);
                    let room = this.room.take();
                    return Poll::Ready(match work.place.take() {
                        Some(place) => place.answered(result, room),
                        None => result,
                    });
                }
                Project::Waiting { waiting } => {
                    let place = match ready!(waiting.poll_told(cx)) {
                        Ok(place) => place,
                        Err(error) => return Poll::Ready(Err(error)),
                    };
                    if is_over(this.deadline.as_ref()) {
                        let what =
                            "the caller's deadline passed while the request waited for a place";
                        return Poll::Ready(Err(MeshError::new(ErrorKind::Deadline, what)));
                    }
                    let Some(request) = waiting.request.take() else {
                        return Poll::Pending;
                    };
                    State::Working {
                        inner: waiting.service.call(request),
                        work: Work {
                            place: Some(place),
                            deadline: this.deadline.clone(),
                        },
                    }
                }
                Project::Refused { error } => {
                    return match error.take() {
                        Some(error) => Poll::Ready(Err(error)),
                        // Polled again after its end.
                        None => Poll::Pending,
                    };
                }
            };
            this.state.set(next);
        }
    }
}

// === impl Waiting ===

impl<S, B> Waiting<S, B> {
    fn poll_told(&mut self, cx: &mut Context<'_>) -> Poll<Result<Place, MeshError>> {
        let entrance = &self.queued.entrance;
        if let Poll::Ready(told) = Pin::new(&mut self.told).poll(cx) {
            return Poll::Ready(match told {
                Ok(Told::Enter(place)) => Ok(place),
                Ok(Told::Refused) | Err(_) => Err(entrance.refuse(Reason::Waited, self.level)),
            });
        }
        ready!(self.longest.as_mut().poll(cx));
        if entrance.cancel(self.queued.ticket, true) {
            return Poll::Ready(Err(entrance.refuse(Reason::Waited, self.level)));
        }
        // It is being told at this moment, by another thread.
        self.longest
            .as_mut()
            .reset(tokio::time::Instant::now() + entrance.longest_wait());
        Poll::Pending
    }
}

// === impl Queued ===

impl Drop for Queued {
    fn drop(&mut self) {
        self.entrance.cancel(self.ticket, false);
    }
}

fn is_over(deadline: Option<&Deadline>) -> bool {
    deadline.is_some_and(|deadline| deadline.left(runtime::now()).is_zero())
}

// === impl Work ===

impl Drop for Work {
    fn drop(&mut self) {
        // Dropped unanswered: its caller went, or its deadline passed, which overload may have done.
        if let Some(place) = &self.place
            && is_over(self.deadline.as_ref())
        {
            place.timed_out();
        }
    }
}
