//! What rules do to requests and answers, through policy text.

use mesh_tower::testkit::{TestEndpoint, TestNet};
use mesh_tower::{Mesh, MeshClient};

use crate::support::{call, get, rule, services, status, under};

fn routed(text: &str) -> (TestNet, TestEndpoint, Mesh, MeshClient) {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    one.answer(200, "hello");
    let services = services(&[
        ("shop/reviews", &["10.0.0.1:80"]),
        ("shop/v2", &["10.0.0.1:80"]),
    ]);
    let (mesh, client) = under(&net, &format!("{services}{}", rule(text)));
    (net, one, mesh, client)
}

async fn location(redirect: &str, uri: &str) -> (u16, String) {
    let text = format!(
        "matches: [{{ path: {{ value: /a }} }}], filters: [{{ type: RequestRedirect, requestRedirect: {{ {redirect} }} }}]"
    );
    let (_net, one, _mesh, client) = routed(&text);
    let response = call(&client, get(uri)).await.unwrap();
    assert_eq!(one.calls(), 0);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    (response.status().as_u16(), location)
}

#[tokio::test(start_paused = true)]
async fn gateway_api_the_location_of_a_redirect() {
    // conformance: HTTPRouteRedirectHostAndStatus, -Path, -Port, -Scheme, -PortAndScheme, 303, 307, 308
    for (redirect, uri, status, expected) in [
        (
            "hostname: example.org",
            "http://h/a?q=1",
            302,
            "http://example.org/a?q=1",
        ),
        (
            "hostname: example.org, statusCode: 301",
            "http://h/a",
            301,
            "http://example.org/a",
        ),
        (
            "statusCode: 303, hostname: x.y",
            "http://h/a",
            303,
            "http://x.y/a",
        ),
        (
            "statusCode: 307, hostname: x.y",
            "http://h/a",
            307,
            "http://x.y/a",
        ),
        (
            "statusCode: 308, hostname: x.y",
            "http://h/a",
            308,
            "http://x.y/a",
        ),
        (
            "path: { type: ReplacePrefixMatch, replacePrefixMatch: /b }",
            "http://h/a/c?q=1",
            302,
            "http://h/b/c?q=1",
        ),
        (
            "path: { type: ReplaceFullPath, replaceFullPath: /full }",
            "http://h/a/c",
            302,
            "http://h/full",
        ),
        ("port: 8083", "http://h/a", 302, "http://h:8083/a"),
        ("port: 80", "http://h:8080/a", 302, "http://h/a"),
        ("scheme: https", "http://h:8080/a", 302, "https://h/a"),
        ("scheme: https, port: 443", "http://h/a", 302, "https://h/a"),
        (
            "scheme: https, port: 8443",
            "http://h/a",
            302,
            "https://h:8443/a",
        ),
        (
            "scheme: http, port: 80",
            "http://h:8080/a",
            302,
            "http://h/a",
        ),
        // Neither scheme nor port: the port that the request came for.
        (
            "hostname: example.org",
            "http://h:8080/a",
            302,
            "http://example.org:8080/a",
        ),
    ] {
        assert_eq!(
            location(redirect, uri).await,
            (status, expected.to_owned()),
            "{redirect}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn gateway_api_a_rewrite_changes_host_and_path_of_what_is_sent() {
    for (rewrite, uri, path, host) in [
        (
            "hostname: one.example.org",
            "/a/b?q=1",
            "/a/b?q=1",
            "one.example.org",
        ),
        (
            "path: { type: ReplacePrefixMatch, replacePrefixMatch: / }",
            "/a/b?q=1",
            "/b?q=1",
            "reviews.shop",
        ),
        (
            "path: { type: ReplacePrefixMatch, replacePrefixMatch: '' }",
            "/a",
            "/",
            "reviews.shop",
        ),
        (
            "path: { type: ReplaceFullPath, replaceFullPath: /full }",
            "/a/b?q=1",
            "/full?q=1",
            "reviews.shop",
        ),
    ] {
        for place in ["", "backendRefs: [{ name: v2, "] {
            let end = if place.is_empty() { "" } else { " }]" };
            let text = format!(
                "matches: [{{ path: {{ value: /a }} }}], {place}filters: [{{ type: URLRewrite, urlRewrite: {{ {rewrite} }} }}]{end}"
            );
            let (_net, one, _mesh, client) = routed(&text);
            assert_eq!(status(&client, get(uri)).await.unwrap(), 200);
            let seen = &one.seen()[0];
            assert_eq!(
                (seen.uri.to_string().as_str(), seen.header("host")),
                (path, host),
                "{text}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn gateway_api_a_backends_own_filters_are_for_its_calls_only() {
    // conformance: HTTPRouteBackendRequestHeaderModification, HTTPRouteBackendRequestRedirect
    let edit = |name: &str| {
        format!(
            "filters: [{{ type: RequestHeaderModifier, requestHeaderModifier: {{ set: [{{ name: x-backend, value: {name} }}] }} }}]"
        )
    };
    let text = format!(
        "filters: [{{ type: RequestHeaderModifier, requestHeaderModifier: {{ set: [{{ name: x-backend, value: rule }}], add: [{{ name: x-add, value: a }}], remove: [x-gone] }} }}], \
         backendRefs: [{{ name: v2, weight: 1, {} }}, {{ name: reviews, weight: 0, {} }}]",
        edit("v2"),
        edit("reviews")
    );
    let (_net, one, _mesh, client) = routed(&text);
    let mut request = get("/");
    request.headers_mut().insert("x-gone", "1".parse().unwrap());
    status(&client, request).await.unwrap();
    let seen = &one.seen()[0];
    assert_eq!(
        (
            seen.header("x-backend"),
            seen.header("x-add"),
            seen.header("x-gone")
        ),
        ("v2", "a", "")
    );

    let text = "backendRefs: [{ name: v2, filters: [{ type: RequestRedirect, requestRedirect: { hostname: a.b } }] }]";
    let (_net, one, _mesh, client) = routed(text);
    assert_eq!(status(&client, get("/")).await.unwrap(), 302);
    assert_eq!(one.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn gateway_api_when_no_rule_matches_the_answer_is_404() {
    let (_net, _one, _mesh, client) = routed("matches: [{ path: { value: /a } }]");
    let error = call(&client, get("/b")).await.unwrap_err();
    assert_eq!(
        (
            error.code().to_string().as_str(),
            error.http_status().as_u16()
        ),
        ("M2001", 404)
    );
}

#[tokio::test(start_paused = true)]
async fn the_callee_is_told_which_rule_and_backend_were_chosen() {
    let (_net, one, mesh, client) = routed("backendRefs: [{ name: v2 }]");
    status(&client, get("/")).await.unwrap();
    assert_eq!(
        one.seen()[0].header("x-mesh-routed"),
        "shop/reviews;route=reviews/0;backend=shop/v2"
    );
    // Past the split: by the backend's own name.
    status(&mesh.client("v2.shop"), get("/")).await.unwrap();
    assert_eq!(
        one.seen()[1].header("x-mesh-routed"),
        "shop/v2;route=v2/default;backend=shop/v2"
    );
}
