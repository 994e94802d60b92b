//! What the traffic policy makes of requests, live.

use std::sync::{Arc, Mutex};

use http::header::CONTENT_TYPE;
use mesh_core::{context::Criticality, identity::SpiffeId, policy::store::Layer as Source};
use tower::{Service, ServiceExt, service_fn};
use tower_layer::Layer;

use super::*;
use crate::{context, transport::ConnInfo};

fn apply(mesh: &Mesh, inbound: &str) {
    let text = format!("service: shop/reviews\ntraffic:\n  inbound:\n{inbound}");
    let loaded = mesh_core::policy::text::load(&[mesh_core::policy::text::Source {
        name: "test.yaml".into(),
        text: text.as_str().into(),
    }]);
    assert!(loaded.diagnostics.0.is_empty(), "{:?}", loaded.diagnostics);
    mesh.store().apply(Source::Code, loaded.resources).unwrap();
}

fn from(peer: Option<&str>) -> Request<MeshBody> {
    let peer = peer
        .map(|name| SpiffeId::parse(&format!("spiffe://mesh.local/ns/shop/sa/{name}")).unwrap());
    let mut request = Request::get("/x").body(MeshBody::empty()).unwrap();
    let headers = request.headers_mut();
    headers.insert("x-mesh-routed", "1".parse().unwrap());
    request.extensions_mut().insert(ConnInfo {
        peer,
        ..ConnInfo::default()
    });
    request
}

fn grpc(mut request: Request<MeshBody>) -> Request<MeshBody> {
    let grpc = "application/grpc".parse().unwrap();
    request.headers_mut().insert(CONTENT_TYPE, grpc);
    request
}

async fn send<S>(service: &S, request: Request<MeshBody>) -> Response<MeshBody>
where
    S: Service<Request<MeshBody>, Response = Response<MeshBody>, Error = Infallible> + Clone,
{
    let Ok(answer) = service.clone().oneshot(request).await;
    answer
}

#[tokio::test(start_paused = true)]
async fn above_its_quota_a_caller_is_told_when_to_come_back() {
    let mesh = mesh();
    apply(
        &mesh,
        "    rateLimits: [{ name: each, by: [{ identity: true }], requests: 2, per: 10s }]\n",
    );
    let service = mesh.server_layer().layer(service_fn(echo));
    for _ in 0..2 {
        assert_eq!(send(&service, from(Some("web"))).await.status(), 200);
    }
    let refused = send(&service, from(Some("web"))).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["mesh-reason"], "M2007");
    assert_eq!(refused.headers()["retry-after"], "5");
    let refused = send(&service, grpc(from(Some("web")))).await;
    assert_eq!(refused.headers()["grpc-status"], "8");
    assert_eq!(refused.headers()["grpc-retry-pushback-ms"], "5000");
    assert_eq!(send(&service, from(Some("job"))).await.status(), 200);

    tokio::time::advance(Duration::from_millis(4_999)).await;
    assert_eq!(send(&service, from(Some("web"))).await.status(), 429);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(send(&service, from(Some("web"))).await.status(), 200);
    let metrics = mesh.metrics_text();
    let line = "mesh_server_rate_limited_total{limit=\"each\",criticality=\"critical\"} 3";
    assert!(metrics.contains(line), "{metrics}");
    let report = mesh.report();
    let web = report.inbound.iter().find(|row| row.from.ends_with("web"));
    assert_eq!(web.unwrap().codes["M2007"], 3);
}

#[tokio::test(start_paused = true)]
async fn a_changed_rate_limit_keeps_its_counters_on_every_connection() {
    let mesh = mesh();
    apply(
        &mesh,
        "    rateLimits: [{ name: all, requests: 3, per: 10s }]\n",
    );
    let layer = mesh.server_layer();
    let (one, two) = (layer.layer(service_fn(echo)), layer.layer(service_fn(echo)));
    for service in [&one, &two, &one] {
        assert_eq!(send(service, from(None)).await.status(), 200);
    }
    assert_eq!(send(&two, from(None)).await.status(), 429);
    // Another server of the process is the same service.
    let other = mesh.server_layer().layer(service_fn(echo));
    assert_eq!(send(&other, from(None)).await.status(), 429);
    apply(
        &mesh,
        "    rateLimits: [{ name: all, requests: 3, per: 20s }]\n",
    );
    assert_eq!(send(&one, from(None)).await.status(), 429);
    apply(&mesh, "    timeout: 1s\n");
    assert_eq!(send(&one, from(None)).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn the_policys_timeout_bounds_the_application() {
    let mesh = mesh();
    apply(&mesh, "    timeout: 2s\n");
    let service = mesh
        .server_layer()
        .layer(service_fn(async |_: Request<MeshBody>| {
            tokio::time::sleep(Duration::from_secs(3)).await;
            Ok::<_, Infallible>(Response::new(MeshBody::empty()))
        }));
    let began = tokio::time::Instant::now();
    let late = send(&service, from(None)).await;
    assert_eq!(
        (late.status().as_u16(), began.elapsed().as_secs()),
        (504, 2)
    );
    apply(&mesh, "    timeout: 5s\n");
    assert_eq!(send(&service, from(None)).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_limit_on_concurrency_is_changed_and_switched_off_live() {
    let mesh = mesh();
    let fixed = "    concurrency: { algorithm: Fixed, initial: 1 }\n    queue: { size: 0 }\n";
    apply(&mesh, fixed);
    let service = mesh
        .server_layer()
        .layer(service_fn(async |_: Request<MeshBody>| {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Ok::<_, Infallible>(Response::new(MeshBody::empty()))
        }));
    let first = tokio::spawn(send_owned(service.clone()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let refused = send(&service, grpc(from(None))).await;
    assert_eq!(refused.headers()["grpc-status"], "14");
    assert_eq!(refused.headers()["grpc-retry-pushback-ms"], "1000");
    assert_eq!(
        send(&service, from(None)).await.headers()["retry-after"],
        "1"
    );
    apply(&mesh, "    concurrency: { algorithm: Off }\n");
    assert_eq!(send(&service, from(None)).await.status(), 200);
    apply(&mesh, fixed);
    assert_eq!(send(&service, from(None)).await.status(), 200);
    assert_eq!(first.await.unwrap(), 200);
}

async fn send_owned<S>(service: S) -> http::StatusCode
where
    S: Service<Request<MeshBody>, Response = Response<MeshBody>, Error = Infallible> + Clone,
{
    send(&service, from(None)).await.status()
}

/// The level that a handler of `mesh` sees, and the header that it sees.
async fn seen(mesh: &Mesh, request: Request<MeshBody>) -> (Criticality, String) {
    let seen = Arc::new(Mutex::new(None));
    let keep = seen.clone();
    let service = mesh
        .server_layer()
        .layer(service_fn(move |request: Request<MeshBody>| {
            let header = request.headers().get("x-mesh-criticality");
            let header = header
                .map_or("", |value| value.to_str().unwrap())
                .to_owned();
            let level = context::with(|context| context.criticality).unwrap();
            *keep.lock().unwrap() = Some((level, header));
            echo(request)
        }));
    send(&service, request).await;
    let seen = seen.lock().unwrap().take();
    seen.unwrap()
}

fn saying(peer: Option<&str>, level: &str) -> Request<MeshBody> {
    let mut request = from(peer);
    request
        .headers_mut()
        .insert("x-mesh-criticality", level.parse().unwrap());
    request
}

#[tokio::test]
async fn a_stranger_is_not_believed_and_the_handler_sees_what_was_decided() {
    let mesh = mesh();
    let of = |level: Criticality, header: &str| (level, header.to_owned());
    let web = saying(Some("web"), "sheddable");
    assert_eq!(
        seen(&mesh, web).await,
        of(Criticality::Sheddable, "sheddable")
    );
    let stranger = saying(None, "critical-plus");
    assert_eq!(seen(&mesh, stranger).await, of(Criticality::Critical, ""));

    apply(
        &mesh,
        "    criticality:\n      default: SheddablePlus\n      rules:\n      - from: [{ service: batch }]\n        level: Sheddable\n",
    );
    let batch = saying(Some("batch"), "critical-plus");
    assert_eq!(
        seen(&mesh, batch).await,
        of(Criticality::Sheddable, "sheddable")
    );
    assert_eq!(
        seen(&mesh, from(Some("web"))).await,
        of(Criticality::SheddablePlus, "sheddable-plus")
    );
}

#[tokio::test]
async fn an_application_says_how_much_its_calls_matter() {
    let mesh = mesh();
    let seen = Arc::new(Mutex::new(Vec::<Criticality>::new()));
    let keep = seen.clone();
    let service = mesh.server_layer().layer(service_fn(move |request| {
        let seen = keep.clone();
        async move {
            let level = |mut call: Request<MeshBody>| {
                let call = context::CallContext::of(&mut call);
                seen.lock().unwrap().push(call.criticality());
            };
            level(Request::new(MeshBody::empty()));
            let mut less = Request::new(MeshBody::empty());
            less.extensions_mut().insert(Criticality::Sheddable);
            level(less);
            context::with_criticality(Criticality::CriticalPlus, async {
                level(Request::new(MeshBody::empty()));
            })
            .await;
            echo(request).await
        }
    }));
    send(&service, saying(Some("web"), "sheddable-plus")).await;
    let expected = [
        Criticality::SheddablePlus,
        Criticality::Sheddable,
        Criticality::CriticalPlus,
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}
