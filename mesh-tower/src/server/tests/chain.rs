//! A server whose handler calls another server through the mesh's client.

use std::sync::{Arc, Mutex};

use http::HeaderMap;
use tower::{ServiceExt, service_fn};

use super::*;

type Seen = Arc<Mutex<Vec<HeaderMap>>>;

/// `ratings`, which remembers the headers it was called with.
fn ratings(mesh: &Mesh, status: u16) -> (crate::server::ServerHandle, Seen) {
    let seen = Seen::default();
    let remembered = seen.clone();
    let service = service_fn(move |request: Request<MeshBody>| {
        remembered.lock().unwrap().push(request.headers().clone());
        let answer = Response::builder().status(status).body(MeshBody::full("5"));
        async move { Ok::<_, Infallible>(answer.unwrap()) }
    });
    let server = mesh
        .server()
        .bind("127.0.0.1:0")
        .unwrap()
        .serve(service)
        .unwrap();
    (server, seen)
}

#[tokio::test]
async fn a_call_of_the_handler_inherits_deadline_trace_and_attempt() {
    let below = built(Mesh::builder("ratings").namespace("shop"));
    let (server, seen) = ratings(&below, 200);
    let middle = built(
        Mesh::builder("reviews")
            .namespace("shop")
            .endpoints("ratings", [server.local_addr()]),
    );
    let client = middle.client("ratings");
    let service = service_fn(move |_: Request<MeshBody>| {
        let client = client.clone();
        async move { client.oneshot(Request::new(MeshBody::empty())).await }
    });
    let front = middle
        .server()
        .bind("127.0.0.1:0")
        .unwrap()
        .serve(service)
        .unwrap();

    let mut user = client1(front.local_addr()).await;
    let request = get("/")
        .header(
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
        .header("x-mesh-timeout-ms", "3000")
        .header("x-mesh-attempt", "2")
        .header("baggage", "user=7");
    let answer = soon("the answer", user.send_request(empty(request)))
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(text(answer).await, "5");

    let seen = seen.lock().unwrap();
    let headers = &seen[0];
    let of = |name: &str| headers[name].to_str().unwrap();
    assert_eq!(
        &of("traceparent")[3..35],
        "0af7651916cd43dd8448eb211c80319c"
    );
    assert_ne!(&of("traceparent")[36..52], "b7ad6b7169203331");
    let left: u64 = of("x-mesh-timeout-ms").parse().unwrap();
    assert!((1..=3000).contains(&left), "{left}");
    // It arrived as a retry, so it is one for everything below: nobody there retries again.
    assert_eq!(of("x-mesh-attempt"), "2");
    assert_eq!(of("baggage"), "user=7");
    assert_eq!(of("x-mesh-routed"), "1");
}

#[tokio::test]
async fn an_error_of_the_handlers_client_keeps_its_code() {
    let middle = mesh();
    let client = middle.client("nowhere");
    let service = service_fn(move |_: Request<MeshBody>| {
        let client = client.clone();
        async move { client.oneshot(Request::new(MeshBody::empty())).await }
    });
    let front = middle
        .server()
        .bind("127.0.0.1:0")
        .unwrap()
        .serve(service)
        .unwrap();
    let mut user = client1(front.local_addr()).await;
    let request = empty(get("/").header("x-mesh-routed", "1"));
    let answer = soon("the answer", user.send_request(request))
        .await
        .unwrap();
    assert_eq!(answer.status(), 404);
    assert_eq!(answer.headers()["mesh-reason"], "M2001");
}
