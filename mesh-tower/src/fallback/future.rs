use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::Response;
use mesh_core::error::MeshError;
use pin_project_lite::pin_project;

use super::{Failed, layer::Rule};
use crate::{BoxError, body::MeshBody, stack::into_mesh_error};

pin_project! {
    /// Future of [`Fallback`](super::Fallback).
    pub struct FallbackFuture<F> {
        #[pin]
        inner: F,
        rule: Arc<Rule>,
        grpc: bool,
    }
}

// === impl FallbackFuture ===

impl<F> FallbackFuture<F> {
    pub(super) fn new(inner: F, rule: Arc<Rule>, grpc: bool) -> Self {
        Self { inner, rule, grpc }
    }
}

impl<F, E> Future for FallbackFuture<F>
where
    F: Future<Output = Result<Response<MeshBody>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<MeshBody>, MeshError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx)).map_err(into_mesh_error);
        Poll::Ready(match Failed::of(result, *this.grpc) {
            Err(answer) => Ok(answer),
            Ok(failed) => this.rule.apply(failed),
        })
    }
}
