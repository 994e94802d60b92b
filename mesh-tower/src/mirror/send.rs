use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use mesh_core::balance::EndpointSet;
use mesh_core::classify::{Class, FailureKind};
use mesh_core::telemetry::names;

use super::Duplicate;
use crate::body::MeshBody;
use crate::live_view::BackendView;
use crate::metrics::Ended;
use crate::runtime;

// === impl Duplicate ===

impl Duplicate {
    /// Says why the copy is not sent.
    pub(super) fn give_up(self, reason: &str) {
        self.mirrors.dropped(&self.backend, reason);
    }

    /// Sends the copy, in a task that ends with the mesh or after the copy's time.
    pub(super) fn send(self, body: Bytes, trailers: Option<HeaderMap>) {
        if body.len() > self.max_body {
            return self.give_up("too_large");
        }
        let mirrors = self.mirrors.clone();
        mirrors.tasks.spawn(async move {
            let backend = self.backend.newest();
            let requests = &backend.state().ceilings().requests;
            if requests.used() >= requests.limit() / 2 {
                return self.mirrors.dropped(&backend, "crowded");
            }
            let class =
                match tokio::time::timeout(self.limit, self.exchange(&backend, body, trailers))
                    .await
                {
                    Ok(Some(class)) => class,
                    Ok(None) => return self.mirrors.dropped(&backend, "no_endpoint"),
                    Err(_) => Class::Failure(FailureKind::Timeout),
                };
            let service = backend.policy().service().to_string();
            let labels = [(names::SERVICE, &*service), (names::CLASS, class.label())];
            self.mirrors
                .recorder
                .counter(names::MIRRORED, &labels)
                .increment(1);
        });
    }

    /// One attempt, to the end of the answer's body. `None`: there was nobody to send it to.
    async fn exchange(
        &self,
        backend: &Arc<BackendView>,
        body: Bytes,
        trailers: Option<HeaderMap>,
    ) -> Option<Class> {
        let set: &EndpointSet = backend.set();
        let mut rng = fastrand::Rng::new();
        let pick = backend
            .balancer()
            .choose(set, runtime::now(), &[], &mut rng)?;
        let endpoint = backend.endpoint(pick.index)?;
        let _in_flight = set.get(pick.index)?.begin();

        let mut request = Request::new(body_of(body, trailers));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = self.version;
        *request.headers_mut() = self.headers.clone();
        Some(match endpoint.seam().call_ref(request).await {
            Ok(response) => self.drain(response).await,
            Err(error) => Ended::error(&error).class,
        })
    }

    /// Reads the answer away, so that its connection is free again.
    async fn drain(&self, response: http::Response<MeshBody>) -> Class {
        let mut ended = Ended::head(self.grpc, &response);
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                return Class::Failure(FailureKind::Transport);
            };
            let status = frame
                .trailers_ref()
                .and_then(mesh_core::classify::grpc::status);
            if let (None, Some(code)) = (ended, status) {
                ended = Some(Ended::grpc(code));
            }
        }
        ended.map_or(Class::Success, |ended| ended.class)
    }
}

fn body_of(body: Bytes, trailers: Option<HeaderMap>) -> MeshBody {
    match trailers {
        None => MeshBody::full(body),
        Some(trailers) => {
            let trailers = std::future::ready(Some(Ok::<_, std::convert::Infallible>(trailers)));
            MeshBody::new(http_body_util::Full::new(body).with_trailers(trailers))
        }
    }
}
