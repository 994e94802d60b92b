//! `grpc.health.v1`, for every application, whether or not it speaks gRPC.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body::{Body, Frame};
use mesh_core::{
    classify,
    health::grpc::{self as wire, CHECK, Serving, WATCH},
    metadata,
};

use super::layer::State;
use crate::{BoxError, body::MeshBody, stack::is_grpc};

/// gRPC's UNIMPLEMENTED.
const UNIMPLEMENTED: u32 = 12;

/// Marks a health call on its way to the application: it passes the access policy.
#[derive(Clone, Copy)]
pub(crate) struct HealthProbe;

/// A call of the health service.
pub(super) struct Asked {
    state: State,
    watch: bool,
}

/// The states that a watcher is told.
struct States {
    state: State,
    told: Option<Serving>,
    changed: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Until the process will not be ready again.
    Following,
    /// Until one state was told.
    Once,
    Ended,
}

/// Whether the application has answered for itself: it implements the service.
pub(super) fn is_served(response: &Response<MeshBody>) -> bool {
    is_grpc(response.headers()) && classify::grpc::status(response.headers()) != Some(UNIMPLEMENTED)
}

// === impl Asked ===

impl Asked {
    pub(super) fn new<B>(path: &str, request: &Request<B>, state: &State) -> Option<Self> {
        let watch = path == WATCH;
        let ours = watch || path == CHECK;
        let fits = || request.method() == Method::POST && is_grpc(request.headers());
        (ours && fits()).then(|| Self {
            state: state.clone(),
            watch,
        })
    }

    /// The mesh's own answer, for whatever service was asked about.
    pub(super) fn answer(self) -> Response<MeshBody> {
        let Self { state, watch } = self;
        let mut answer = Response::new(MeshBody::new(States {
            state,
            told: None,
            changed: None,
            phase: match watch {
                true => Phase::Following,
                false => Phase::Once,
            },
        }));
        let kind = HeaderValue::from_static("application/grpc");
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
        answer
    }
}

// === impl States ===

impl States {
    fn end(&mut self) -> Frame<Bytes> {
        self.phase = Phase::Ended;
        let mut trailers = HeaderMap::new();
        trailers.insert(metadata::GRPC_STATUS, HeaderValue::from_static("0"));
        Frame::trailers(trailers)
    }
}

impl Body for States {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        loop {
            if this.phase == Phase::Ended {
                return Poll::Ready(None);
            }
            // Before the look, so that no change between the two is missed.
            let state = &this.state;
            let changed = this
                .changed
                .get_or_insert_with(|| Box::pin(state.changed()));
            let serving = match this.state.unready() {
                None => Serving::Yes,
                Some(_) => Serving::No,
            };
            let told = this.told.replace(serving);
            if told.is_none() || (told != Some(serving) && this.phase == Phase::Following) {
                let frame = Frame::data(Bytes::copy_from_slice(&wire::response(serving)));
                return Poll::Ready(Some(Ok(frame)));
            }
            // A stream that stayed open would hold up the drain.
            if this.phase == Phase::Once || this.state.is_over() {
                return Poll::Ready(Some(Ok(this.end())));
            }
            ready!(changed.as_mut().poll(cx));
            this.changed = None;
        }
    }
}
