use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use mesh_core::error::{ErrorKind, Flags, MeshError};
use tower_service::Service;

use super::{future::ShedFuture, permit::Room};
use crate::{
    BoxError,
    body::MeshBody,
    stack::{Describe, into_mesh_error},
};

/// What a refused caller is asked to wait before it comes back to *this* instance.
const COME_BACK: Duration = Duration::from_secs(1);

/// Service of [`ShedLayer`](super::ShedLayer).
#[derive(Clone, Debug)]
pub struct Shed<S> {
    pub(super) inner: S,
    pub(super) room: Arc<Room>,
}

// === impl Shed ===

impl<S, B> Service<Request<B>> for Shed<S>
where
    S: Service<Request<B>, Response = Response<MeshBody>>,
    S::Error: Into<BoxError>,
{
    type Response = Response<MeshBody>;
    type Error = MeshError;
    type Future = ShedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        self.inner.poll_ready(cx).map_err(into_mesh_error)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.room.enter() {
            Some(permit) => ShedFuture::entered(self.inner.call(request), permit),
            None => {
                let limit = self.room.limit();
                let what = format!("{limit} requests are in work, no more are taken");
                let flags = Flags {
                    refused: true,
                    ..Flags::default()
                };
                ShedFuture::refused(
                    MeshError::new(ErrorKind::Overloaded, what)
                        .with_flags(flags)
                        .with_retry_after(COME_BACK),
                )
            }
        }
    }
}

impl<S: Describe> Describe for Shed<S> {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("shed");
        self.inner.describe(into);
    }
}
