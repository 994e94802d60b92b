//! `grpc.health.v1` as a client made by hand on tonic sees it: answered by the server stack, for services that do
//! not implement it, and by those that do.

mod support;

use std::{convert::Infallible, net::SocketAddr};

use http::uri::PathAndQuery;
use http_body::Frame;
use mesh_tower::{Mesh, MeshBody, MeshClient, server::ServerHandle};
use support::{
    echo::{Echo, pb::echo_server::EchoServer},
    soon,
};
use tonic::{Code, IntoRequest, Status, Streaming};

const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

struct Health(tonic::client::Grpc<MeshClient>);

impl Health {
    fn of(addr: SocketAddr) -> (Mesh, Self) {
        let web = Mesh::builder("shop/web").endpoints("echo.shop", [addr]);
        let web = web.build().unwrap();
        let client = web.client("echo.shop");
        (web, Self(tonic::client::Grpc::new(client)))
    }

    async fn check(&mut self, service: &str) -> Result<i32, Status> {
        soon("ready", self.0.ready()).await.unwrap();
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
        let codec = tonic_prost::ProstCodec::<_, HealthCheckResponse>::default();
        let answer = soon("check", self.0.unary(request.into_request(), path, codec)).await?;
        Ok(answer.into_inner().status)
    }

    async fn watch(&mut self) -> Streaming<HealthCheckResponse> {
        soon("ready", self.0.ready()).await.unwrap();
        let request = HealthCheckRequest::default().into_request();
        let path = PathAndQuery::from_static("/grpc.health.v1.Health/Watch");
        let codec = tonic_prost::ProstCodec::default();
        let answer = soon("watch", self.0.server_streaming(request, path, codec)).await;
        answer.unwrap().into_inner()
    }
}

async fn next(states: &mut Streaming<HealthCheckResponse>) -> Option<i32> {
    let state = soon("a state", states.message()).await.unwrap();
    state.map(|state| state.status)
}

fn serve(mesh: &Mesh) -> ServerHandle {
    let server = mesh.server().bind("127.0.0.1:0").unwrap();
    server.serve(EchoServer::new(Echo)).unwrap()
}

#[tokio::test]
async fn check_and_watch_follow_readiness_and_the_drain() {
    let mesh = Mesh::builder("shop/echo").build().unwrap();
    let server = serve(&mesh);
    let (_web, mut health) = Health::of(server.local_addr());
    for service in ["", "mesh.test.echo.Echo"] {
        assert_eq!(health.check(service).await.unwrap(), SERVING);
    }
    let mut states = health.watch().await;
    assert_eq!(next(&mut states).await, Some(SERVING));

    mesh.feed().set_ready(false);
    assert_eq!(next(&mut states).await, Some(NOT_SERVING));
    assert_eq!(health.check("").await.unwrap(), NOT_SERVING);
    mesh.feed().set_ready(true);
    assert_eq!(next(&mut states).await, Some(SERVING));

    mesh.drain().start();
    assert_eq!(next(&mut states).await, Some(NOT_SERVING));
    // A watch that stayed open would hold up the drain.
    assert_eq!(next(&mut states).await, None);
    assert_eq!(health.check("").await.unwrap(), NOT_SERVING);
}

#[tokio::test]
async fn probes_pass_an_access_policy_that_lets_nobody_in() {
    let nobody = "service: shop/echo\naccess: { mode: Enforce, allow: [{ from: [] }] }\n";
    let mesh = Mesh::builder("shop/echo").policy_text(nobody);
    let mesh = mesh.build().unwrap();
    let server = serve(&mesh);
    let (web, mut health) = Health::of(server.local_addr());
    assert_eq!(health.check("").await.unwrap(), SERVING);
    // All else is denied.
    use support::echo::pb::{Say, echo_client::EchoClient};
    let mut echo = EchoClient::new(web.client("echo.shop"));
    let denied = soon("unary", echo.unary(Say::default())).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    // The probe was none of the denied.
    let report = mesh.report();
    let denied: u64 = report.inbound.iter().map(|row| row.denied).sum();
    assert_eq!(denied, 1, "{report:?}");
}

#[tokio::test]
async fn a_service_that_implements_it_answers_for_itself() {
    let mesh = Mesh::builder("shop/echo").build().unwrap();
    let own = tower::service_fn(async |_: http::Request<MeshBody>| {
        // NOT_SERVING, and what it is asked about is its own matter.
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
        let frames = [
            Frame::data(bytes::Bytes::from_static(&[0, 0, 0, 0, 2, 0x08, 2])),
            Frame::trailers(trailers),
        ];
        let frames = tokio_stream::iter(frames.map(Ok::<_, Infallible>));
        let body = MeshBody::new(http_body_util::StreamBody::new(frames));
        let answer = http::Response::builder().header("content-type", "application/grpc");
        Ok::<_, Infallible>(answer.body(body).unwrap())
    });
    let server = mesh
        .server()
        .bind("127.0.0.1:0")
        .unwrap()
        .serve(own)
        .unwrap();
    let (_web, mut health) = Health::of(server.local_addr());
    assert_eq!(health.check("").await.unwrap(), NOT_SERVING);
}

#[tokio::test]
async fn an_application_that_speaks_no_grpc_is_serving_too() {
    let mesh = Mesh::builder("shop/echo").build().unwrap();
    let own = tower::service_fn(async |_: http::Request<MeshBody>| {
        Ok::<_, Infallible>(http::Response::new(MeshBody::full("hello")))
    });
    let server = mesh
        .server()
        .bind("127.0.0.1:0")
        .unwrap()
        .serve(own)
        .unwrap();
    let (_web, mut health) = Health::of(server.local_addr());
    assert_eq!(health.check("").await.unwrap(), SERVING);
}
