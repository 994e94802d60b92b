use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{HeaderValue, Request, Response, StatusCode, header};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    grpc::{self, Asked, HealthProbe},
    layer::{HEALTH, READY, State},
};
use crate::{body::MeshBody, stack::Describe};

/// Service of [`HealthLayer`](super::HealthLayer).
#[derive(Clone)]
pub struct Health<S> {
    pub(super) inner: S,
    pub(super) state: State,
}

pin_project! {
    /// Future of [`Health`].
    pub struct HealthFuture<F> {
        #[pin]
        inner: Option<F>,
        answer: Option<Response<MeshBody>>,
        // The gRPC health call that the application was asked to answer.
        asked: Option<Box<Asked>>,
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

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let mut future = HealthFuture {
            inner: None,
            answer: None,
            asked: None,
        };
        match request.uri().path() {
            HEALTH => future.answer = Some(plain(None)),
            READY => future.answer = Some(plain(self.state.unready())),
            path => {
                if let Some(asked) = Asked::new(path, &request, &self.state) {
                    if self.state.unready().is_some() {
                        future.answer = Some(asked.answer());
                        return future;
                    }
                    request.extensions_mut().insert(HealthProbe);
                    future.asked = Some(Box::new(asked));
                }
                future.inner = Some(self.inner.call(request));
            }
        }
        future
    }
}

fn plain(unready: Option<&'static str>) -> Response<MeshBody> {
    let mut answer = Response::new(MeshBody::full(match unready {
        None => "ok\n".to_owned(),
        Some(why) => format!("{why}\n"),
    }));
    if unready.is_some() {
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    let kind = HeaderValue::from_static("text/plain");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
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
            Some(inner) => inner.poll(cx).map_ok(|response| match this.asked.take() {
                Some(asked) if !grpc::is_served(&response) => asked.answer(),
                _ => response,
            }),
            None => Poll::Pending,
        }
    }
}
