use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Body;
use mesh_core::classify::grpc;
use mesh_core::metadata;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::LoadReports;
use super::body::Reporting;
use crate::body::MeshBody;
use crate::stack::{Describe, is_grpc};

/// Adds load reports to answers.
#[derive(Clone, Debug)]
pub struct LoadReportLayer {
    reports: LoadReports,
}

/// The service of [`LoadReportLayer`].
#[derive(Clone, Debug)]
pub struct LoadReportService<S> {
    inner: S,
    reports: LoadReports,
}

pin_project! {
    /// The future of [`LoadReportService`].
    #[derive(Debug)]
    pub struct LoadReportFuture<F> {
        #[pin]
        inner: F,
        // `None`: nobody has asked so far.
        told: Option<Told>,
    }
}

/// What is to be done with one answer.
#[derive(Clone, Debug)]
struct Told {
    reports: LoadReports,
    grpc: bool,
    /// `None`: it is counted only.
    form: Option<Form>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Binary,
}

// === impl LoadReportLayer ===

impl LoadReportLayer {
    /// Reports what `reports` measures.
    pub fn new(reports: LoadReports) -> Self {
        Self { reports }
    }
}

impl<S> Layer<S> for LoadReportLayer {
    type Service = LoadReportService<S>;

    fn layer(&self, inner: S) -> LoadReportService<S> {
        LoadReportService {
            inner,
            reports: self.reports.clone(),
        }
    }
}

// === impl LoadReportService ===

impl<S, B> Service<Request<B>> for LoadReportService<S>
where
    S: Service<Request<B>, Response = Response<MeshBody>>,
{
    type Response = Response<MeshBody>;
    type Error = S::Error;
    type Future = LoadReportFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let grpc = is_grpc(request.headers());
        let form = form(request.headers(), &self.reports, grpc);
        let told = (form.is_some() || self.reports.is_counting()).then(|| Told {
            reports: self.reports.clone(),
            grpc,
            form,
        });
        LoadReportFuture {
            inner: self.inner.call(request),
            told,
        }
    }
}

impl<S: Describe> Describe for LoadReportService<S> {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("load_report");
        self.inner.describe(into);
    }
}

/// The form that a caller wants, if it wants any.
fn form(headers: &HeaderMap, reports: &LoadReports, grpc: bool) -> Option<Form> {
    let asked = headers
        .get(metadata::LOAD_FORMAT)
        .map(HeaderValue::as_bytes);
    match asked {
        Some(text) if text.eq_ignore_ascii_case(b"text") => Some(Form::Text),
        Some(text) if text.eq_ignore_ascii_case(b"bin") => Some(Form::Binary),
        _ if reports.is_always() && grpc => Some(Form::Binary),
        _ if reports.is_always() => Some(Form::Text),
        _ => None,
    }
}

/// Writes the present load into headers or trailers.
pub(super) fn write(reports: &LoadReports, form: Form, into: &mut HeaderMap) {
    let report = reports.report();
    let (name, text) = match form {
        Form::Text => (metadata::LOAD, report.to_text()),
        Form::Binary => (metadata::LOAD_BIN, report.to_binary()),
    };
    // What the application says of itself stays.
    if let (Ok(value), false) = (HeaderValue::try_from(text), into.contains_key(&name)) {
        into.insert(name, value);
    }
}

// === impl LoadReportFuture ===

impl<F, E> Future for LoadReportFuture<F>
where
    F: Future<Output = Result<Response<MeshBody>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx));
        Poll::Ready(match this.told.take() {
            None => result,
            Some(told) => result.map(|response| told.answered(response)),
        })
    }
}

// === impl Told ===

impl Told {
    fn answered(self, mut response: Response<MeshBody>) -> Response<MeshBody> {
        let status = grpc::status(response.headers());
        let open = self.grpc && status.is_none() && !response.body().is_end_stream();
        if let (Some(form), true) = (self.form, open) {
            // Status and report are in the trailers.
            return response.map(|body| Reporting::wrap(body, self.reports, form));
        }
        let failed = response.status().is_server_error() || status.is_some_and(is_failure);
        self.reports.count(failed);
        if let Some(form) = self.form {
            write(&self.reports, form, response.headers_mut());
        }
        response
    }
}

/// Whether a gRPC status is the server's fault.
pub(super) fn is_failure(status: u32) -> bool {
    mesh_core::classify::grpc(status).is_failure()
}
