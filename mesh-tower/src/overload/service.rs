use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::{Entered, OverloadFuture, OverloadLayer, entrance::Reason, level_of};
use crate::{
    BoxError,
    body::MeshBody,
    stack::{Describe, into_mesh_error},
};

/// Service of [`OverloadLayer`].
#[derive(Clone, Debug)]
pub struct Overload<S> {
    pub(super) inner: S,
    pub(super) layer: OverloadLayer,
}

// === impl Overload ===

impl<S, B> Service<Request<B>> for Overload<S>
where
    S: Service<Request<B>, Response = Response<MeshBody>> + Clone,
    S::Error: Into<BoxError>,
    B: 'static,
{
    type Response = Response<MeshBody>;
    type Error = mesh_core::error::MeshError;
    type Future = OverloadFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(into_mesh_error)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.layer.refresh();
        let entrance = &self.layer.entrance;
        let level = level_of(&request);
        let room = match self.layer.room.as_ref().map(|room| room.enter()) {
            Some(None) => {
                return OverloadFuture::refused(entrance.refuse(Reason::Requests, level));
            }
            Some(permit) => permit,
            None => None,
        };
        Entered::new(entrance, room, level).call(&mut self.inner, request)
    }
}

impl<S: Describe> Describe for Overload<S> {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("overload");
        self.inner.describe(into);
    }
}
