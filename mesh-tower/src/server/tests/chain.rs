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
    assert!(of("x-mesh-routed").starts_with("shop/ratings;route="));
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

/// The handler had the request: what became of a call of its own is not what became of that.
#[tokio::test]
async fn what_became_of_a_call_below_is_not_said_of_the_handlers_own() {
    let gone = tokio::net::TcpSocket::new_v4().unwrap();
    gone.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let middle = built(
        Mesh::builder("reviews")
            .namespace("shop")
            .policy_text("service: shop/ratings\nroute: [{ retry: { attempts: 0 } }]")
            .endpoints("ratings", [gone.local_addr().unwrap()]),
    );
    let client = middle.client("ratings");
    let service = service_fn(move |request: Request<MeshBody>| {
        let client = client.clone();
        async move {
            let grpc = request.uri().path() == "/grpc";
            let copied = Response::builder()
                .status(if grpc { 200 } else { 503 })
                .header("x-mesh-outcome", "unreached")
                .body(MeshBody::empty())
                .unwrap();
            match request.uri().path() {
                "/error" => client.oneshot(Request::new(MeshBody::empty())).await,
                _ => Ok(copied),
            }
        }
    });
    let front = middle
        .server()
        .bind("127.0.0.1:0")
        .unwrap()
        .serve(service)
        .unwrap();
    for (path, kind, status) in [
        ("/error", "text/plain", 503),
        ("/copied", "text/plain", 503),
        ("/grpc", "application/grpc", 200),
    ] {
        let mut user = client1(front.local_addr()).await;
        let request = get(path)
            .header("x-mesh-routed", "1")
            .header("content-type", kind);
        let answer = soon("the answer", user.send_request(empty(request)))
            .await
            .unwrap();
        assert_eq!(answer.status(), status, "{path}");
        let headers = answer.headers();
        assert!(
            !headers.contains_key("x-mesh-outcome"),
            "{path}: {headers:?}"
        );
    }
}

/// Two retries, on the usual budget but for its floor: ten a second would be more than a tenth of the
/// load that a slow machine offers.
fn retrying(service: &str) -> String {
    format!(
        "service: shop/{service}\n\
         route: [{{ retry: {{ attempts: 2, codes: [502, 503] }} }}]\n\
         backend: {{ retryBudget: {{ minRetriesPerSecond: 2 }} }}\n"
    )
}

/// A server `name` that answers with what `next` answers, or makes an answer of its own of it.
fn hop(name: &str, next: &str, at: SocketAddr, own: bool) -> (Mesh, crate::server::ServerHandle) {
    let policy = retrying(next);
    let mesh = built(
        Mesh::builder(name)
            .namespace("shop")
            .policy_text(&policy)
            .endpoints(next, [at]),
    );
    let client = mesh.client(next);
    let service = service_fn(move |_: Request<MeshBody>| {
        let client = client.clone();
        async move {
            let answer = client.oneshot(Request::new(MeshBody::empty())).await?;
            if !own || answer.status().is_success() {
                return Ok(answer);
            }
            let text = format!("below: {}", answer.status().as_u16());
            let mut mine = Response::new(MeshBody::full(text));
            *mine.status_mut() = http::StatusCode::BAD_GATEWAY;
            Ok::<_, mesh_core::error::MeshError>(mine)
        }
    });
    let server = mesh
        .server()
        .bind("127.0.0.1:0")
        .unwrap()
        .serve(service)
        .unwrap();
    (mesh, server)
}

/// web -> a -> b -> c -> leaf over real sockets, the leaf 100 % down, two retries at each hop. `b`
/// makes an answer of its own of the failure: what it knows of the call below travels all the same.
#[tokio::test]
async fn four_hops_over_sockets_load_a_dead_leaf_with_at_most_1_3_times_what_is_offered() {
    const CALLS: usize = 600;
    let last = built(Mesh::builder("leaf").namespace("shop"));
    let (leaf, seen) = ratings(&last, 503);
    let (_c, c) = hop("c", "leaf", leaf.local_addr(), false);
    let (_b, b) = hop("b", "c", c.local_addr(), true);
    let (_a, a) = hop("a", "b", b.local_addr(), false);
    let policy = retrying("a");
    let web = built(
        Mesh::builder("web")
            .namespace("shop")
            .policy_text(&policy)
            .endpoints("a", [a.local_addr()]),
    );
    let client = web.client("a");
    let calls = (0..20).map(|_| {
        let client = client.clone();
        async move {
            for _ in 0..CALLS / 20 {
                let request = Request::new(MeshBody::empty());
                let answer = client.clone().oneshot(request).await.unwrap();
                assert_eq!(answer.status(), 502);
                let text = answer.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(text, "below: 503", "the user is told what failed");
            }
        }
    });
    soon("the calls", futures_util::future::join_all(calls)).await;
    let load = seen.lock().unwrap().len() as f64 / CALLS as f64;
    println!("the leaf sees {load:.3} times the load");
    assert!(load > 1.0 && load <= 1.3, "{load}");

    // Between peers of the mesh the failure is marked; a stranger sees the answer alone.
    let mut user = client1(a.local_addr()).await;
    for (request, marked) in [
        (get("/").header("x-mesh-routed", "1"), true),
        (get("/"), false),
    ] {
        let answer = soon("the answer", user.send_request(empty(request)))
            .await
            .unwrap();
        assert_eq!(answer.status(), 502);
        assert_eq!(answer.headers().contains_key("x-mesh-retried"), marked);
        assert_eq!(text(answer).await, "below: 503");
    }
}

#[tokio::test]
async fn a_grpc_failure_that_was_retried_below_comes_back_with_a_pushback_of_never() {
    let last = built(Mesh::builder("leaf").namespace("shop"));
    let (leaf, _) = ratings(&last, 503);
    let policy = "service: shop/leaf\nroute: [{ retry: { attempts: 1, codes: [503] } }]\n";
    let middle = built(
        Mesh::builder("c")
            .namespace("shop")
            .policy_text(policy)
            .endpoints("leaf", [leaf.local_addr()]),
    );
    let client = middle.client("leaf");
    let service = service_fn(move |_: Request<MeshBody>| {
        let client = client.clone();
        async move {
            let below = client.oneshot(Request::new(MeshBody::empty())).await?;
            let mut answer = Response::new(MeshBody::empty());
            let status = if below.status().is_success() {
                "0"
            } else {
                "14"
            };
            let headers = answer.headers_mut();
            headers.insert("content-type", "application/grpc".parse().unwrap());
            headers.insert("grpc-status", status.parse().unwrap());
            Ok::<_, mesh_core::error::MeshError>(answer)
        }
    });
    let front = middle
        .server()
        .bind("127.0.0.1:0")
        .unwrap()
        .serve(service)
        .unwrap();
    let mut user = client2(front.local_addr()).await;
    for (routed, expected) in [(true, Some("-1")), (false, None)] {
        let mut request = Request::post(format!("http://{}/a.B/C", front.local_addr()))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if routed {
            request = request.header("x-mesh-routed", "1");
        }
        let answer = soon("the answer", user.send_request(empty(request)))
            .await
            .unwrap();
        assert_eq!(answer.headers()["grpc-status"], "14");
        let pushback = answer.headers().get("grpc-retry-pushback-ms");
        assert_eq!(pushback.map(|value| value.to_str().unwrap()), expected);
    }
}
