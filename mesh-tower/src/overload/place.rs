use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use http::{Request, Response, StatusCode};
use mesh_core::{
    classify::grpc,
    context::{Criticality, RequestContext},
    error::{ErrorKind, MeshError},
    overload::{Outcome, Slot},
};

use super::{Entrance, room::Permit};
use crate::{
    body::MeshBody,
    context::CallContext,
    runtime,
    server::{is_buffered, is_endless},
};

/// A place in work, given back on drop.
#[derive(Debug)]
pub(crate) struct Place {
    entrance: Arc<Entrance>,
    slot: Option<Slot>,
    since: Instant,
}

/// The place of an answer that goes on.
#[derive(Debug)]
pub(crate) struct Stream(Mutex<Option<Place>>);

/// How much a request matters: on a server as was decided there, in a client as the call says.
pub(crate) fn level_of<B: 'static>(request: &Request<B>) -> Criticality {
    if let Some(context) = request.extensions().get::<RequestContext>() {
        return context.criticality;
    }
    CallContext::get(request).map_or_else(Criticality::default, CallContext::criticality)
}

// === impl Place ===

impl Place {
    pub(super) fn new(entrance: &Arc<Entrance>, slot: Slot, since: Instant) -> Self {
        Self {
            entrance: entrance.clone(),
            slot: Some(slot),
            since,
        }
    }

    /// The head of an answer is there, or an error. Answers what is to be kept until its body's end.
    pub(super) fn answered(
        self,
        result: Result<Response<MeshBody>, MeshError>,
        room: Option<Permit>,
    ) -> Result<Response<MeshBody>, MeshError> {
        let now = runtime::now();
        if let Some(outcome) = outcome(&result) {
            self.record(now, outcome);
        }
        let response = result?;
        if is_buffered(response.body()) {
            return Ok(response);
        }
        if response.status() == StatusCode::SWITCHING_PROTOCOLS || is_endless(response.headers()) {
            // Tunnels and events wait, as a rule: a hundred of them are no load to be limited.
            return Ok(response.map(|body| body.with_guard(room)));
        }
        let entrance = self.entrance.clone();
        let stream = Arc::new(Stream(Mutex::new(Some(self))));
        entrance.watch(now, &stream);
        Ok(response.map(|body| body.with_guard((stream, room))))
    }

    /// The call was dropped before it was answered, its deadline over.
    pub(super) fn timed_out(&self) {
        self.record(runtime::now(), Outcome::Dropped);
    }

    fn record(&self, now: Instant, outcome: Outcome) {
        let rtt = now.saturating_duration_since(self.since);
        if self.entrance.gate().record(rtt, outcome) {
            self.entrance.wake();
        }
    }
}

/// What the latency of an answer says. A failure is often quick, and says nothing of the load.
fn outcome(result: &Result<Response<MeshBody>, MeshError>) -> Option<Outcome> {
    match result {
        Err(error) if error.kind() == ErrorKind::Deadline => Some(Outcome::Dropped),
        Err(_) => None,
        Ok(response) if response.status().is_server_error() => None,
        Ok(response) => match grpc::status(response.headers()) {
            None | Some(0) => Some(Outcome::Done),
            Some(_) => None,
        },
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take()
            && self.entrance.gate().leave(slot)
        {
            self.entrance.wake();
        }
    }
}

// === impl Stream ===

impl Stream {
    /// Gives the place back while the answer goes on.
    pub(super) fn leave(&self) {
        let place = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(place);
    }
}
