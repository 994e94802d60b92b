use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{HeaderValue, Request, Response, StatusCode, header};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::layer::{HEALTH, Probe, READY};
use crate::{body::MeshBody, stack::Describe};

/// Service of [`HealthLayer`](super::HealthLayer).
#[derive(Clone)]
pub struct Health<S> {
    pub(super) inner: S,
    pub(super) probe: Probe,
}

pin_project! {
    /// Future of [`Health`].
    pub struct HealthFuture<F> {
        #[pin]
        inner: Option<F>,
        answer: Option<Response<MeshBody>>,
    }
}

// === impl Health ===

impl<S, B> Service<Request<B>> for Health<S>
where
    S: Service<Request<B>, Response = Response<MeshBody>>,
{
    type Response = Response<MeshBody>;
    type Error = S::Error;
    type Future = HealthFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let path = request.uri().path();
        let unready = match path {
            HEALTH => None,
            READY => (self.probe)(),
            _ => {
                return HealthFuture {
                    inner: Some(self.inner.call(request)),
                    answer: None,
                };
            }
        };
        let mut answer = Response::new(MeshBody::full(match unready {
            None => "ok\n".to_owned(),
            Some(why) => format!("{why}\n"),
        }));
        if unready.is_some() {
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        answer
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        HealthFuture {
            inner: None,
            answer: Some(answer),
        }
    }
}

impl<S: Describe> Describe for Health<S> {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("health");
        self.inner.describe(into);
    }
}

impl<S: std::fmt::Debug> std::fmt::Debug for Health<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

// === impl HealthFuture ===

impl<F, E> Future for HealthFuture<F>
where
    F: Future<Output = Result<Response<MeshBody>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Some(answer) = this.answer.take() {
            return Poll::Ready(Ok(answer));
        }
        match this.inner.as_pin_mut() {
            Some(inner) => inner.poll(cx),
            None => Poll::Pending,
        }
    }
}
