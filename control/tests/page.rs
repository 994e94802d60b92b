//! The page, its API, health and metrics.

mod common;

use common::{Scratch, get, start};

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_three_files_under_a_strict_policy() {
    let scratch = Scratch::new();
    let server = start(&scratch).await;
    for (path, kind) in [
        ("/", "text/html"),
        ("/page.css", "text/css"),
        ("/page.js", "text/javascript"),
    ] {
        let (status, head, body) = get(server.page_addr, path, "localhost:7480").await;
        assert_eq!(status, 200, "{path}");
        assert!(
            head.contains(&format!("content-type: {kind}")),
            "{path}: {head}"
        );
        assert!(
            head.contains("content-security-policy: default-src 'none'; script-src 'self'"),
            "{head}"
        );
        assert!(
            !head.contains("unsafe-inline") && !head.contains("unsafe-eval"),
            "{head}"
        );
        assert!(head.contains("x-content-type-options: nosniff"), "{head}");
        assert!(
            !body.contains("http://") && !body.contains("https://"),
            "{path} names no other site"
        );
        assert!(
            !body.contains("innerHTML"),
            "{path}: a peer's text is never markup"
        );
    }
    let (_, _, html) = get(server.page_addr, "/", "localhost").await;
    assert!(
        !html.contains("<script>") && !html.contains(" style=") && !html.contains(" onclick"),
        "{html}"
    );
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_sites_name_for_loopback_is_refused() {
    let scratch = Scratch::new();
    let server = start(&scratch).await;
    for path in ["/", "/api/clients", "/metrics"] {
        let (status, _, body) = get(server.page_addr, path, "evil.example").await;
        assert_eq!(status, 403, "{path}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_answers_in_json_and_only_reads() {
    let scratch = Scratch::new();
    let server = start(&scratch).await;
    server
        .apply([(
            "a.yaml".to_owned(),
            "service: shop/reviews:80\nroute:\n- timeout: 2s\n".to_owned(),
        )])
        .unwrap();
    for path in [
        "/api/check",
        "/api/stat",
        "/api/stat?window=1h&to=reviews",
        "/api/endpoints",
        "/api/clients",
        "/api/events?after=0",
    ] {
        let (status, head, body) = get(server.page_addr, path, "127.0.0.1").await;
        assert_eq!(status, 200, "{path}");
        assert!(head.contains("application/json"), "{path}: {head}");
        serde_json::from_str::<serde_json::Value>(&body)
            .unwrap_or_else(|error| panic!("{path}: {error}: {body}"));
    }
    let (_, _, clients) = get(server.page_addr, "/api/clients", "127.0.0.1").await;
    assert!(clients.contains(&server.revision()), "{clients}");
    assert_eq!(
        get(server.page_addr, "/api/nothing", "127.0.0.1").await.0,
        404
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_are_there() {
    let scratch = Scratch::new();
    let server = start(&scratch).await;
    assert_eq!(
        get(server.page_addr, "/healthz", "127.0.0.1").await.2,
        "ok\n"
    );
    assert_eq!(get(server.page_addr, "/readyz", "127.0.0.1").await.0, 200);
    let (status, head, body) = get(server.page_addr, "/metrics", "127.0.0.1").await;
    assert_eq!(status, 200);
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    for line in [
        "mesh_control_instances 0",
        "mesh_control_clients{state=\"behind\"} 0",
        "mesh_control_findings{severity=\"error\"} 0",
    ] {
        assert!(body.lines().any(|each| each == line), "{line}: {body}");
    }
}
