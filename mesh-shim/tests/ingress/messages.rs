//! What passes of requests and answers, and what only the mesh may say.

use tokio::net::TcpStream;

use crate::client::Client;
use crate::common::app::RawApp;
use crate::common::until;
use crate::{Edge, named, route, service, to};

const WWW: &str = "www.example.com";

#[tokio::test]
async fn a_stranger_is_believed_nothing_and_told_nothing() {
    let web = named("web").await;
    let policy = service("web", web.addr) + &route("www", &[WWW], &to("web"));
    let edge = Edge::start(&policy, &[]).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    let fields = [
        ("forwarded", "for=9.9.9.9"),
        ("x-forwarded-for", "9.9.9.9"),
        ("x-forwarded-proto", "ftp"),
        ("x-forwarded-host", "evil"),
        (
            "x-forwarded-client-cert",
            "URI=spiffe://mesh.local/ns/shop/sa/admin",
        ),
        ("x-real-ip", "9.9.9.9"),
        ("x-mesh-criticality", "critical"),
        ("x-mesh-attempt", "3"),
        ("x-mesh-timeout-ms", "1"),
        ("x-mesh-routed", "1"),
        ("x-mesh-mirror", "1"),
        ("x-mesh-anything", "1"),
        ("mesh-reason", "M2001"),
        ("grpc-previous-rpc-attempts", "2"),
        ("endpoint-load-metrics-format", "TEXT"),
        ("b3", "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-d"),
        ("x-b3-flags", "1"),
        ("traceparent", parent.as_str()),
        ("x-kept", "yes"),
    ];
    for (alpn, via) in [("http/1.1", "1.1 mesh"), ("h2", "2 mesh")] {
        let mut client = Client::secure(edge.tls(), WWW, &edge.public.pem, alpn).await;
        let answer = client.send(WWW, "/", &fields).await;
        assert_eq!(answer.status, 200);
        let told: Vec<_> = answer.headers.keys().map(|name| name.as_str()).collect();
        assert!(!told.iter().any(|name| name.contains("mesh")), "{told:?}");
        assert_eq!(answer.headers["x-own"], "kept");
        let seen = web.take();
        let head = &seen[0].head;
        let get = |name: &str| head.all(name).join("|");
        println!("{alpn}: {:?}", head.fields);
        assert_eq!(get("x-kept"), "yes");
        assert_eq!(get("x-forwarded-for"), "127.0.0.1");
        assert_eq!(get("x-forwarded-proto"), "https");
        assert_eq!(get("x-forwarded-host"), WWW);
        assert_eq!(
            get("forwarded"),
            format!("for=127.0.0.1;host=\"{WWW}\";proto=https")
        );
        assert_eq!(get("via"), via);
        for gone in [
            "x-forwarded-client-cert",
            "x-real-ip",
            "x-mesh-criticality",
            "x-mesh-attempt",
            "x-mesh-mirror",
            "x-mesh-anything",
            "mesh-reason",
            "grpc-previous-rpc-attempts",
            "endpoint-load-metrics-format",
            "b3",
            "x-b3-flags",
        ] {
            assert_eq!(get(gone), "", "{gone}");
        }
        // The trace goes on; that it be recorded is not for a stranger to say.
        let traced = get("traceparent");
        assert!(
            traced.contains(trace) && traced.ends_with("-00"),
            "{traced}"
        );
        // Ours, not the millisecond of the stranger.
        assert_ne!(get("x-mesh-timeout-ms"), "1");
    }
    // Clients outside bypass nothing.
    let metrics = edge.shim.metrics().await;
    assert!(metrics.contains("mesh_server_requests_total{from=\"outside\""));
    let mut unrouted = metrics
        .lines()
        .filter(|line| line.starts_with("mesh_server_unrouted_total"));
    assert!(unrouted.all(|line| line.ends_with(" 0")), "{metrics}");
}

#[tokio::test]
async fn plaintext_is_redirected_to_https_of_the_same_host() {
    let web = named("web").await;
    let policy = service("web", web.addr) + &route("www", &[WWW], &to("web"));
    let edge = Edge::start(&policy, &["--https-redirect"]).await;
    let mut client = Client::plaintext(edge.plaintext()).await;
    for (host, path, expected) in [
        (WWW, "/a/b?c=%20d", "https://www.example.com/a/b?c=%20d"),
        ("www.example.com:8080", "/", "https://www.example.com/"),
        ("[::1]:8080", "/x", "https://[::1]/x"),
    ] {
        let answer = client.get(host, path).await;
        assert_eq!(answer.status, 308);
        assert_eq!(answer.headers["location"], expected);
        println!("http://{host}{path} -> {expected}");
    }
    for host in ["a b", "a@b", "a/../b", ""] {
        let mut wire = crate::common::wire::Wire::connect(edge.plaintext()).await;
        wire.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        assert_eq!(wire.answer().await.head.status(), 400, "{host}");
    }
    // What a load balancer asks is answered here.
    let mut probe = Client::plaintext(edge.plaintext()).await;
    assert_eq!(probe.get("127.0.0.1", "/.mesh/ready").await.status, 200);
    assert!(web.take().is_empty());
    let mut client = Client::secure(edge.tls(), WWW, &edge.public.pem, "h2").await;
    assert_eq!(client.get(WWW, "/").await.status, 200);
    let edge = Edge::start(&policy, &["--https-redirect=8443"]).await;
    let mut client = Client::plaintext(edge.plaintext()).await;
    let answer = client.get(WWW, "/").await;
    assert_eq!(answer.headers["location"], "https://www.example.com:8443/");
}

#[tokio::test]
async fn filters_of_a_route_know_that_the_client_came_by_https() {
    let web = named("web").await;
    let moved = "filters: [{ type: RequestRedirect, requestRedirect: { hostname: new.example.com, statusCode: 301 } }]";
    let limited = route("www", &[WWW], &to("web")).replace("name: edge", "name: edge, port: 1");
    let policy = service("web", web.addr) + &limited + &route("old", &["old.example.com"], moved);
    let edge = Edge::start(&policy, &[]).await;
    let mut client =
        Client::secure(edge.tls(), "old.example.com", &edge.public.pem, "http/1.1").await;
    let answer = client.get("old.example.com", "/x").await;
    assert_eq!(answer.status, 301);
    assert_eq!(answer.headers["location"], "https://new.example.com/x");
    // Limited to the listener of another port.
    assert_eq!(client.get(WWW, "/").await.status, 404);
}

#[tokio::test]
async fn the_policy_of_the_ingress_limits_its_clients_and_access_is_not_asked_of_them() {
    let web = named("web").await;
    // Of each client outside: what it says of where it comes from is replaced before anything counts it.
    let limits = "apiVersion: policy.mesh/v1alpha1\nkind: TrafficPolicy\nmetadata: { name: edge, namespace: shop }\n\
                  spec: { targetRefs: [{ kind: Service, name: edge }], inbound: { rateLimits: [{ name: each, by: [{ header: x-forwarded-for }], requests: 3, per: 1h }] } }\n---\n\
                  apiVersion: policy.mesh/v1alpha1\nkind: AccessPolicy\nmetadata: { name: edge, namespace: shop }\n\
                  spec: { targetRefs: [{ kind: Service, name: edge }], mode: Enforce, allow: [{ from: [{ service: nobody }] }] }\n---\n";
    let policy = service("web", web.addr)
        + &service("edge", "127.0.0.1:1".parse().unwrap())
        + limits
        + &route("www", &[WWW], &to("web"));
    let edge = Edge::start(&policy, &["--workers", "2"]).await;
    let mut statuses = Vec::new();
    for _ in 0..5 {
        // Of all listeners and workers together.
        let mut client = Client::secure(edge.tls(), WWW, &edge.public.pem, "h2").await;
        statuses.push(client.get(WWW, "/").await.status.as_u16());
    }
    println!("three an hour: {statuses:?}");
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    let mut client = Client::plaintext(edge.plaintext()).await;
    let other = [("x-forwarded-for", "192.0.2.1")];
    assert_eq!(client.send(WWW, "/", &other).await.status, 429);
    let mut client = Client::plaintext_from("127.0.0.2", edge.plaintext()).await;
    assert_eq!(client.get(WWW, "/").await.status, 200);
}

#[tokio::test]
async fn a_stop_lets_what_is_in_flight_end() {
    let web = RawApp::new().await;
    let policy = service("web", web.addr) + &route("www", &[WWW], &to("web"));
    let mut edge = Edge::start(&policy, &[]).await;
    let mut client = Client::secure(edge.tls(), WWW, &edge.public.pem, "h2").await;
    let asked = tokio::spawn(async move { client.get(WWW, "/").await.status });
    let mut wire = web.accept().await;
    wire.request().await;
    edge.shim.signal(rustix::process::Signal::TERM);
    // It takes no more, and waits for this one.
    until("connections are refused", async || {
        TcpStream::connect(edge.tls()).await.is_err()
    })
    .await;
    wire.send(crate::common::app::ok().0).await;
    assert_eq!(asked.await.unwrap(), 200);
    assert_eq!(edge.shim.end().await.code(), Some(0));
}
