//! `mesh.control.v1.Report`: one aggregate a second of each process.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use mesh_grpc::pb::control as pb;
use mesh_grpc::pb::control::report_server::Report;
use tonic::{Request, Response, Status, Streaming};

use super::caller::{Caller, Member};
use super::state::Shared;
use crate::report;

/// The service over the shared state.
#[derive(Clone, Debug)]
pub(super) struct ReportService(pub(super) Arc<Shared>);

struct Reporting {
    shared: Arc<Shared>,
    member: Member,
    requests: Streaming<pb::ReportRequest>,
    ended: bool,
}

#[tonic::async_trait]
impl Report for ReportService {
    type PushStream = Pin<Box<dyn Stream<Item = Result<pb::ReportAck, Status>> + Send + 'static>>;

    async fn push(
        &self,
        request: Request<Streaming<pb::ReportRequest>>,
    ) -> Result<Response<Self::PushStream>, Status> {
        let member = Caller::of(request.extensions()).member()?;
        let stream = Reporting {
            shared: self.0.clone(),
            member,
            requests: request.into_inner(),
            ended: false,
        };
        let acks = futures_util::stream::unfold(stream, |mut stream| async move {
            let ack = stream.next().await?;
            Some((ack, stream))
        });
        Ok(Response::new(Box::pin(acks)))
    }
}

impl Reporting {
    async fn next(&mut self) -> Option<Result<pb::ReportAck, Status>> {
        if self.ended {
            return None;
        }
        let report = self.requests.message().await.ok().flatten()?;
        let sequence = report.sequence;
        let taken = self.member.only(&report.service).and_then(|()| {
            report::check(&report).map_err(|error| Status::invalid_argument(error.to_string()))
        });
        self.ended = taken.is_err();
        Some(taken.map(|()| {
            self.shared.report(&self.member.service, report);
            pb::ReportAck { sequence }
        }))
    }
}
