//! `mesh.control.v1.Admin`: what `meshctl` and the page ask.

use std::sync::Arc;

use mesh_grpc::pb::control as pb;
use mesh_grpc::pb::control::admin_server::Admin;
use mesh_grpc::wire::resource_to_proto;
use tonic::{Request, Response, Status};

use super::answers;
use super::state::Shared;
use crate::report::Span;
use crate::store::File;

const MAX_FILES: usize = 1_000;
const EVENTS: usize = 100;

/// The service over the shared state.
#[derive(Clone, Debug)]
pub(super) struct AdminService(pub(super) Arc<Shared>);

#[tonic::async_trait]
impl Admin for AdminService {
    async fn apply(
        &self,
        request: Request<pb::ApplyRequest>,
    ) -> Result<Response<pb::ApplyResponse>, Status> {
        let ask = request.into_inner();
        if ask.files.len() > MAX_FILES {
            return Err(Status::invalid_argument(format!(
                "more than {MAX_FILES} files [M3023]"
            )));
        }
        let files = ask.files.into_iter().map(|file| File {
            name: file.name,
            text: file.text,
        });
        let files: Vec<File> = files.collect();
        let shared = self.0.clone();
        // Validation takes a while for 10,000 resources, and the policy is synced to disk.
        let outcome = tokio::task::spawn_blocking(move || shared.apply(files, ask.dry_run))
            .await
            .map_err(|_| Status::internal("the policy could not be checked"))?;
        if let Some(why) = outcome.unwritten {
            let text = format!("the policy could not be written: {why} [M5003]");
            return Err(Status::internal(text));
        }
        let checked = outcome.checked;
        let all: Vec<_> = checked
            .errors
            .iter()
            .chain(checked.warnings.iter())
            .collect();
        Ok(Response::new(pb::ApplyResponse {
            revision: self.0.current().revision.to_string(),
            accepted: outcome.accepted,
            diagnostics_json: serde_json::to_string(&all).unwrap_or_default(),
            resources: answers::count(checked.resources.len()),
            rendered: checked.rendered,
        }))
    }

    async fn policy(
        &self,
        _: Request<pb::PolicyRequest>,
    ) -> Result<Response<pb::PolicyResponse>, Status> {
        let (current, files, default_namespace) = {
            let policy = self.0.policy();
            let namespace = policy.default_namespace().to_owned();
            (policy.current().clone(), policy.files(), namespace)
        };
        let files = files.into_iter().map(|file| pb::PolicyFile {
            name: file.name,
            text: file.text,
        });
        Ok(Response::new(pb::PolicyResponse {
            revision: current.revision.to_string(),
            files: files.collect(),
            default_namespace,
            resources: current
                .resources
                .iter()
                .map(|each| resource_to_proto(each))
                .collect(),
        }))
    }

    async fn stat(
        &self,
        request: Request<pb::StatRequest>,
    ) -> Result<Response<pb::StatResponse>, Status> {
        let ask = request.into_inner();
        Ok(Response::new(answers::stat(&self.0, &ask, Span::Short)))
    }

    async fn endpoints(
        &self,
        request: Request<pb::EndpointsRequest>,
    ) -> Result<Response<pb::EndpointsResponse>, Status> {
        Ok(Response::new(answers::endpoints(
            &self.0,
            &request.into_inner().service,
        )))
    }

    async fn clients(
        &self,
        request: Request<pb::ClientsRequest>,
    ) -> Result<Response<pb::ClientsResponse>, Status> {
        Ok(Response::new(answers::clients(
            &self.0,
            &request.into_inner().service,
        )))
    }

    async fn check(
        &self,
        _: Request<pb::CheckRequest>,
    ) -> Result<Response<pb::CheckResponse>, Status> {
        Ok(Response::new(pb::CheckResponse {
            findings: answers::check(&self.0),
        }))
    }

    async fn events(
        &self,
        request: Request<pb::EventsRequest>,
    ) -> Result<Response<pb::EventsResponse>, Status> {
        let ask = request.into_inner();
        let limit = match ask.limit {
            0 => EVENTS,
            limit => usize::try_from(limit).unwrap_or(EVENTS),
        };
        let events = self
            .0
            .events(ask.after, limit)
            .into_iter()
            .map(|event| pb::Event {
                number: event.number,
                at_unix_ms: event.at_unix_ms,
                kind: event.kind.to_owned(),
                subject: event.subject,
                message: event.message,
                code: event.code,
            });
        Ok(Response::new(pb::EventsResponse {
            events: events.collect(),
        }))
    }
}
