//! Who is reached by which host, and who never is.

use crate::client::{Client, leaf, tls};
use crate::common::wire::Wire;
use crate::common::{Shim, until};
use crate::{Edge, named, route, service, to};

#[tokio::test]
async fn the_host_decides_over_tls_and_in_plaintext_with_both_versions() {
    let (web, api) = (named("web").await, named("api").await);
    let policy = service("web", web.addr)
        + &service("api", api.addr)
        + &route("www", &["www.example.com", "*.example.com"], &to("web"))
        + &route("api", &["api.example.org"], &to("api"));
    let edge = Edge::start(&policy, &["--workers", "2"]).await;
    let roots = &edge.public.pem;
    for alpn in ["http/1.1", "h2"] {
        for (host, expected) in [
            ("www.example.com", "web"),
            ("other.example.com", "web"),
            ("api.example.org", "api"),
        ] {
            let mut client = Client::secure(edge.tls(), host, roots, alpn).await;
            let answer = client.get(host, "/x?y=1").await;
            assert_eq!(
                (answer.status.as_u16(), answer.body.as_str()),
                (200, expected)
            );
            // With a port it is the same host.
            let answer = client.get(&format!("{host}:8443"), "/").await;
            assert_eq!(answer.status, 200, "{host} {alpn}");
            println!("{alpn} {host} -> {expected}");
        }
    }
    let mut client = Client::plaintext(edge.plaintext()).await;
    assert_eq!(client.get("WWW.example.com", "/").await.body, "web");
    // The application sees the host that was asked for.
    let seen = web.take();
    assert_eq!(seen[0].head.get("host"), Some("www.example.com"));
    assert_eq!(seen[0].head.line, "GET /x?y=1 HTTP/1.1");
}

#[tokio::test]
async fn what_no_route_names_is_404_and_no_name_of_the_mesh_leads_in() {
    let (web, payments) = (named("web").await, named("payments").await);
    let policy = service("web", web.addr)
        + &service("payments", payments.addr)
        + &service("edge", web.addr)
        + &route("www", &["www.example.com"], &to("web"))
        // No backendRefs, and the ingress itself: they would come back here.
        + &route("none", &["none.example.com"], "timeouts: { request: 2s }")
        + &route("self", &["self.example.com"], &to("edge"));
    let mut edge = Edge::start_logging(&policy, &[]).await;
    let mut client = Client::plaintext(edge.plaintext()).await;
    for host in [
        "payments.shop",
        "payments",
        "payments.shop.svc.cluster.local",
        "edge.shop",
        "edge",
        "web.shop:80",
        "unknown.example.com",
        "127.0.0.1",
        "none.example.com",
        "self.example.com",
    ] {
        let answer = client.get(host, "/").await;
        assert_eq!(answer.status, 404, "{host}");
        println!("{host} -> {} {:?}", answer.status, answer.body);
        let line = edge.shim.line(&format!("host={host} client=")).await;
        assert!(line.contains("code=M2001"), "{line}");
    }
    assert_eq!(client.get("www.example.com", "/").await.status, 200);
    assert_eq!(web.take().len(), 1);
    assert!(payments.take().is_empty());
}

#[tokio::test]
async fn a_host_that_the_certificate_does_not_cover_is_misdirected() {
    let web = named("web").await;
    let policy = service("web", web.addr) + &route("all", &[], &to("web"));
    let edge = Edge::start(&policy, &[]).await;
    let roots = &edge.public.pem;
    let mut client = Client::secure(edge.tls(), "api.example.org", roots, "h2").await;
    assert_eq!(client.get("api.example.org", "/").await.status, 200);
    for host in ["www.example.com", "payments.shop", "127.0.0.1"] {
        assert_eq!(client.get(host, "/").await.status, 421, "{host}");
    }
    // The connection is still good for its own.
    assert_eq!(client.get("api.example.org", "/").await.status, 200);
    // One certificate may be good for several: a browser shares the connection among them.
    let mut client = Client::secure(edge.tls(), "a.example.com", roots, "h2").await;
    assert_eq!(client.get("b.example.com", "/").await.status, 200);
    let mut client = Client::secure(edge.tls(), "www.example.com", roots, "http/1.1").await;
    assert_eq!(client.get("api.example.org", "/").await.status, 421);
    edge.shim
        .metric("mesh_ingress_refused_total{reason=\"misdirected\"} 4")
        .await;
    assert_eq!(web.take().len(), 3);
}

#[tokio::test]
async fn no_name_is_refused_unless_there_is_a_default() {
    let web = named("web").await;
    let policy = service("web", web.addr) + &route("all", &[], &to("web"));
    let edge = Edge::start(&policy, &[]).await;
    let roots = &edge.public.pem;
    for name in [Some("unknown.org"), Some("a.b.example.com"), None] {
        let refused = tls(edge.tls(), name, roots, &[]).await.unwrap_err();
        println!("{name:?}: {refused}");
        // unrecognized_name, RFC 6066 3.
        assert!(
            refused.to_string().contains("UnrecognisedName"),
            "{refused}"
        );
    }
    let fallback = edge.public.hosts(&["127.0.0.1", "fallback.example.org"]);
    crate::write_pair(&edge.scratch, "default", &fallback);
    until("the default is taken over", async || {
        let stream = tls(edge.tls(), None, roots, &[]).await;
        stream.is_ok_and(|stream| {
            let shown = stream.get_ref().1.peer_certificates();
            shown.unwrap()[0].as_ref() == leaf(&fallback)
        })
    })
    .await;
    assert!(
        tls(edge.tls(), Some("unknown.org"), roots, &[])
            .await
            .is_err()
    );
    edge.shim
        .metric("mesh_ingress_refused_total{reason=\"unknown_name\"} 3")
        .await;
}

#[tokio::test]
async fn what_is_not_let_in_is_told_of_with_host_and_peer() {
    let web = named("web").await;
    let policy = service("web", web.addr) + &route("www", &["www.example.com"], &to("web"));
    for json in [false, true] {
        let flags: &[&str] = if json { &["--log", "json"] } else { &[] };
        let mut edge = Edge::start(&policy, flags).await;
        let roots = edge.public.pem.clone();
        let mut client = Client::secure(edge.tls(), "www.example.com", &roots, "h2").await;
        assert_eq!(client.get("api.example.org", "/").await.status, 421);
        let mut client = Client::plaintext(edge.plaintext()).await;
        assert_eq!(client.get("unknown.example.com", "/").await.status, 404);
        let mut wire = Wire::connect(edge.plaintext()).await;
        wire.send("GET / HTTP/1.1\r\nHost: :80\r\n\r\n").await;
        assert_eq!(wire.answer().await.head.status(), 400);
        let mut wire = Wire::connect(edge.plaintext()).await;
        wire.send("GET / HTTP/1.1\r\nHost: a.example.com\r\nHost: b\r\n\r\n")
            .await;
        assert_eq!(wire.answer().await.head.status(), 400);
        assert!(
            tls(edge.tls(), Some("unknown.org"), &roots, &[])
                .await
                .is_err()
        );
        for (reason, host, status) in [
            ("misdirected", "api.example.org", "421"),
            ("no_route", "unknown.example.com", "404"),
            ("no_host", ":80", "400"),
            ("malformed", "a.example.com", "400"),
            ("unknown_name", "unknown.org", ""),
        ] {
            let line = edge.shim.line(reason).await;
            println!("{line}");
            let said = |name: &str, value: &str, text: bool| match json {
                false if text && name == "reason" => line.contains(&format!("{name}=\"{value}\"")),
                false => line.contains(&format!("{name}={value}")),
                true if text => line.contains(&format!("\"{name}\":\"{value}")),
                true => line.contains(&format!("\"{name}\":{value}")),
            };
            assert!(line.contains("not let in") && line.contains("WARN"));
            assert!(said("reason", reason, true) && said("host", host, true));
            assert!(said("peer", "127.0.0.1:", true), "{line}");
            assert!(status.is_empty() || said("status", status, false), "{line}");
        }
    }
}

#[tokio::test]
async fn a_changed_policy_routes_the_next_request() {
    let (web, api) = (named("web").await, named("api").await);
    let services = service("web", web.addr) + &service("api", api.addr);
    let policy =
        |to_whom: &str| services.clone() + &route("www", &["www.example.com"], &to(to_whom));
    let edge = Edge::start(&policy("web"), &[]).await;
    let mut client = Client::secure(edge.tls(), "www.example.com", &edge.public.pem, "h2").await;
    assert_eq!(client.get("www.example.com", "/").await.body, "web");
    edge.scratch.write("policy.yaml", &policy("api"));
    let took = until("the new route is in force", async || {
        client.get("www.example.com", "/").await.body == "api"
    })
    .await;
    println!("a changed route was in force after {took:?}");
    // Taken away, it is no route to anywhere.
    edge.scratch.write("policy.yaml", &services);
    until("the route is gone", async || {
        client.get("www.example.com", "/").await.status == 404
    })
    .await;
}

#[tokio::test]
async fn a_start_without_a_usable_certificate_says_why() {
    let scratch = crate::Scratch::new();
    let directory = scratch.path().display().to_string();
    scratch.write("a.crt", "none");
    scratch.write("a.key", "none");
    let policy = scratch.write("policy.yaml", "").display().to_string();
    let args = [
        "--as",
        "shop/edge",
        "--ingress",
        "127.0.0.1:0",
        "--certificates",
        &directory,
        "--policy",
        &policy,
        "--outbound",
        "off",
        "--health",
        "0",
        "--metrics",
        "0",
    ];
    let mut shim = Shim::spawn(&args);
    let line = shim.line("M1005").await;
    assert!(
        line.contains("a.crt: there is no certificate in it"),
        "{line}"
    );
    shim.line("next: ").await;
    assert_eq!(shim.end().await.code(), Some(1));
    let mut checked = args.to_vec();
    checked.push("--check");
    assert_eq!(Shim::spawn(&checked).end().await.code(), Some(2));
}
