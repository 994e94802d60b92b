use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use mesh_core::classify::grpc;

use super::LoadReports;
use super::layer::{Form, is_failure, write};
use crate::BoxError;
use crate::body::{MeshBody, forward_size};

/// A gRPC body that adds a load report to its trailers.
pub(super) struct Reporting {
    inner: MeshBody,
    reports: LoadReports,
    form: Form,
}

// === impl Reporting ===

impl Reporting {
    pub(super) fn wrap(inner: MeshBody, reports: LoadReports, form: Form) -> MeshBody {
        MeshBody::new(Self {
            inner,
            reports,
            form,
        })
    }
}

impl Body for Reporting {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(Ok(match frame.into_trailers() {
                Ok(mut trailers) => {
                    // A status that is missing is no success either.
                    let failed = grpc::status(&trailers).is_none_or(is_failure);
                    self.reports.count(failed);
                    write(&self.reports, self.form, &mut trailers);
                    Frame::trailers(trailers)
                }
                Err(frame) => frame,
            })),
            other => other,
        })
    }

    forward_size!(inner);
}
