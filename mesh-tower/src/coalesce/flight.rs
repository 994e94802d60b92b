use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::{Bytes, BytesMut};
use futures_util::future::{FutureExt, Shared, WeakShared};
use http::{HeaderMap, Response, header, response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use mesh_core::error::MeshError;

use super::key::COMPARED;
use crate::{BoxError, body::MeshBody, stack::BoxFuture};

/// A call that several wait for.
pub(super) type Flight = Shared<BoxFuture<Landed>>;

/// What it came to, for each of them.
#[derive(Clone)]
pub(super) enum Landed {
    /// The same for all.
    Shared(Result<Arc<Whole>, MeshError>),
    /// For one of them only: whoever takes it first.
    One(Arc<Mutex<Option<Response<MeshBody>>>>),
}

/// A collected answer.
pub(super) struct Whole {
    head: response::Parts,
    data: Bytes,
    trailers: Option<HeaderMap>,
}

/// The calls that are under way, by key.
#[derive(Default)]
pub(super) struct Flights {
    by_key: Mutex<ByKey>,
}

/// Each with a number of its own, so that a later call of the same key is told apart.
type ByKey = HashMap<Box<[u8]>, (u64, WeakShared<BoxFuture<Landed>>)>;

/// Takes a call out of the table when it has ended or nobody waits for it any more.
struct Listed {
    flights: Arc<Flights>,
    key: Box<[u8]>,
    id: u64,
}

// === impl Flights ===

impl Flights {
    /// The call of that key, or a new one from `start`; and whether it is new. `None` if there is no
    /// room for a new one.
    pub(super) fn join(
        self: &Arc<Self>,
        key: &[u8],
        most: usize,
        start: impl FnOnce() -> BoxFuture<Landed>,
    ) -> Option<(Flight, bool)> {
        let mut by_key = self.lock();
        if let Some((_, weak)) = by_key.get(key)
            && let Some(flight) = weak.upgrade()
        {
            return Some((flight, false));
        }
        if by_key.len() >= most {
            return None;
        }
        // Ids only have to differ from the one that was there before.
        let id = by_key.get(key).map_or(0, |(id, _)| id.wrapping_add(1));
        let listed = Listed {
            flights: self.clone(),
            key: key.into(),
            id,
        };
        let call = start();
        let future: BoxFuture<Landed> = Box::pin(async move {
            // Dropped with the future, which is when the call ends or the last waiter goes.
            let _listed = listed;
            call.await
        });
        let flight = future.shared();
        if let Some(weak) = flight.downgrade() {
            by_key.insert(key.into(), (id, weak));
        }
        Some((flight, true))
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, ByKey> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Listed ===

impl Drop for Listed {
    fn drop(&mut self) {
        let mut by_key = self.flights.lock();
        if by_key.get(&self.key).is_some_and(|(id, _)| *id == self.id) {
            by_key.remove(&self.key);
        }
    }
}

// === impl Landed ===

impl Landed {
    /// Collects an answer, if it may be shared and is not too long.
    pub(super) async fn gather(
        result: Result<Response<MeshBody>, MeshError>,
        most: usize,
        any: bool,
    ) -> Self {
        let response = match result {
            Err(error) => return Self::Shared(Err(error)),
            Ok(response) => response,
        };
        let lower = http_body::Body::size_hint(response.body()).lower();
        if lower > most as u64 || !(any || is_public(response.headers())) {
            return Self::one(response);
        }
        let (head, mut body) = response.into_parts();
        let mut data = BytesMut::new();
        let mut trailers = None;
        while let Some(frame) = body.frame().await {
            let frame = match frame {
                Ok(frame) => frame,
                // The head and what has come of it: whoever takes it sees the error in its place.
                Err(error) => {
                    let body = prefixed(data.freeze(), Some(error), MeshBody::empty());
                    return Self::one(Response::from_parts(head, body));
                }
            };
            match frame.into_data() {
                Ok(more) => data.extend_from_slice(&more),
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
            if data.len() > most {
                let body = prefixed(data.freeze(), None, body);
                return Self::one(Response::from_parts(head, body));
            }
        }
        Self::Shared(Ok(Arc::new(Whole {
            head,
            data: data.freeze(),
            trailers,
        })))
    }

    fn one(response: Response<MeshBody>) -> Self {
        Self::One(Arc::new(Mutex::new(Some(response))))
    }
}

/// A body of which the beginning was read already.
fn prefixed(start: Bytes, error: Option<BoxError>, rest: MeshBody) -> MeshBody {
    let first = [Some(Ok(Frame::data(start))), error.map(Err)];
    let first = futures_util::stream::iter(first.into_iter().flatten());
    let rest = http_body_util::BodyStream::new(rest);
    MeshBody::new(StreamBody::new(futures_util::StreamExt::chain(first, rest)))
}

/// Whether an answer is meant for whoever asks the same.
fn is_public(headers: &HeaderMap) -> bool {
    let mut control = headers.get_all(header::CACHE_CONTROL).iter();
    let private = control.any(|value| {
        let value = value.to_str().unwrap_or("private").to_ascii_lowercase();
        value.contains("private") || value.contains("no-store")
    });
    let mut vary = headers.get_all(header::VARY).iter();
    let compared = vary.all(|value| {
        value.to_str().is_ok_and(|names| {
            names.split(',').all(|name| {
                COMPARED
                    .iter()
                    .any(|one| name.trim().eq_ignore_ascii_case(one.as_str()))
            })
        })
    });
    !private && compared && !headers.contains_key(header::SET_COOKIE)
}

// === impl Whole ===

impl Whole {
    pub(super) fn response(&self) -> Response<MeshBody> {
        let body = match &self.trailers {
            None => MeshBody::full(self.data.clone()),
            Some(trailers) => {
                let frames = [
                    Frame::data(self.data.clone()),
                    Frame::trailers(trailers.clone()),
                ];
                let frames = frames.map(Ok::<_, BoxError>);
                MeshBody::new(StreamBody::new(futures_util::stream::iter(frames)))
            }
        };
        Response::from_parts(self.head.clone(), body)
    }
}
