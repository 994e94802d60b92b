use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

/// Sets headers on every request or response.
#[derive(Clone, Debug, Default)]
pub struct HeadersLayer {
    edits: Arc<Edits>,
}

#[derive(Clone, Debug, Default)]
struct Edits {
    request: Vec<(HeaderName, HeaderValue)>,
    response: Vec<(HeaderName, HeaderValue)>,
}

/// The service of [`HeadersLayer`].
#[derive(Clone, Debug)]
pub struct HeadersService<S> {
    inner: S,
    edits: Arc<Edits>,
}

pin_project! {
    /// The future of [`HeadersService`].
    #[derive(Debug)]
    pub struct HeadersFuture<F> {
        #[pin]
        inner: F,
        edits: Arc<Edits>,
    }
}

// === impl HeadersLayer ===

impl HeadersLayer {
    /// A layer that changes nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets headers of requests, replacing what is there.
    #[must_use]
    pub fn set_request(
        mut self,
        headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    ) -> Self {
        Arc::make_mut(&mut self.edits).request.extend(headers);
        self
    }

    /// Sets headers of responses, replacing what is there.
    #[must_use]
    pub fn set_response(
        mut self,
        headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    ) -> Self {
        Arc::make_mut(&mut self.edits).response.extend(headers);
        self
    }
}

impl<S> Layer<S> for HeadersLayer {
    type Service = HeadersService<S>;

    fn layer(&self, inner: S) -> HeadersService<S> {
        HeadersService {
            inner,
            edits: self.edits.clone(),
        }
    }
}

// === impl HeadersService ===

impl<S, B, R> Service<Request<B>> for HeadersService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = HeadersFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        set(&self.edits.request, request.headers_mut());
        HeadersFuture {
            inner: self.inner.call(request),
            edits: self.edits.clone(),
        }
    }
}

// === impl HeadersFuture ===

impl<F, R, E> Future for HeadersFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut result = ready!(this.inner.poll(cx));
        if let Ok(response) = &mut result {
            set(&this.edits.response, response.headers_mut());
        }
        Poll::Ready(result)
    }
}

fn set(edits: &[(HeaderName, HeaderValue)], headers: &mut HeaderMap) {
    for (name, value) in edits {
        headers.insert(name.clone(), value.clone());
    }
}
