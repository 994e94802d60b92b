//! The Gateway API's own sentences about HTTPRoute and GRPCRoute (apis/v1 of kubernetes-sigs/gateway-api),
//! and the tables of its conformance tests, as far as they are about which rule takes a request.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use mesh_core::policy::model::{Filter, Service};
use mesh_core::policy::{Options, Snapshot};

use super::{checked, snapshot};

/// A request and the rule that must take it; `-` is none.
type Row = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
);

fn route(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\n\
         metadata: {{ name: {name}, namespace: shop }}\nspec:\n  \
         parentRefs: [{{ group: '', kind: Service, name: echo }}]\n{spec}"
    )
}

/// Rules named by their number, each on a line of its own.
fn rules(kind: &str, name: &str, rules: &[&str]) -> String {
    let mut spec = "  rules:\n".to_owned();
    for rule in rules {
        spec.push_str(&format!("  - {{ {rule} }}\n"));
    }
    route(kind, name, &spec)
}

const SERVICES: &str = "service: shop/echo\nendpoints: { registered: {} }\n";

fn policy(text: &str) -> Snapshot {
    snapshot(&format!("{SERVICES}{text}"), &Options::partial())
}

fn echo(snapshot: &Snapshot) -> &Service {
    let name = mesh_core::name::ServiceName::new("shop", "echo").unwrap();
    snapshot.outbound().service(&name).unwrap()
}

fn ask(service: &Service, (method, uri, headers, expected): &Row) {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_static(value))
        })
        .collect();
    let method: Method = method.parse().unwrap();
    let uri: Uri = uri.parse().unwrap();
    let found = service.routes(None).find(&method, &uri, &headers);
    let found = found.map_or("-", |route| route.name());
    assert_eq!(found, *expected, "{method} {uri} {headers:?}");
}

fn table(text: &str, rows: &[Row]) {
    let snapshot = policy(text);
    rows.iter().for_each(|row| ask(echo(&snapshot), row));
}

const NONE: &[(&str, &str)] = &[];

#[test]
fn httproute_precedence_must_be_given_to_exact_then_the_prefix_with_most_characters() {
    // conformance: HTTPRoutePathMatchOrder
    let matching = |kind: &str, path: &str| {
        format!("matches: [{{ path: {{ type: {kind}, value: {path} }} }}]")
    };
    let all = [
        matching("Exact", "/match"),
        matching("Exact", "/match/exact"),
        matching("Exact", "/match/exact/one"),
        matching("PathPrefix", "/match/"),
        matching("PathPrefix", "/match/prefix/"),
        matching("PathPrefix", "/match/prefix/one"),
    ];
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    table(
        &rows_text(&all),
        &[
            ("GET", "/match/exact/one", NONE, "r/2"),
            ("GET", "/match/exact", NONE, "r/1"),
            ("GET", "/match", NONE, "r/0"),
            ("GET", "/match/prefix/one/any", NONE, "r/5"),
            ("GET", "/match/prefix/any", NONE, "r/4"),
            ("GET", "/match/any", NONE, "r/3"),
            ("GET", "/", NONE, "-"),
        ],
    );
}

fn rows_text(all: &[&str]) -> String {
    rules("HTTPRoute", "r", all)
}

#[test]
fn httproute_a_prefix_is_matched_element_by_element_and_a_trailing_slash_is_ignored() {
    table(
        &rows_text(&["matches: [{ path: { type: PathPrefix, value: /abc/ } }]"]),
        &[
            ("GET", "/abc", NONE, "r/0"),
            ("GET", "/abc/", NONE, "r/0"),
            ("GET", "/abc/def", NONE, "r/0"),
            ("GET", "/abcd", NONE, "-"),
            ("GET", "/Abc", NONE, "-"),
        ],
    );
}

#[test]
fn httproute_an_exact_path_matches_neither_a_trailing_slash_nor_another_case() {
    table(
        &rows_text(&["matches: [{ path: { type: Exact, value: /abc } }]"]),
        &[
            ("GET", "/abc", NONE, "r/0"),
            ("GET", "/abc?q=1", NONE, "r/0"),
            ("GET", "/abc/", NONE, "-"),
            ("GET", "/Abc", NONE, "-"),
            ("GET", "/abcd", NONE, "-"),
        ],
    );
}

#[test]
fn httproute_method_precedes_header_count_which_precedes_query_count() {
    // conformance: HTTPRouteMethodMatching, HTTPRouteQueryParamMatching
    table(
        &rows_text(&[
            "matches: [{ path: { value: /p } }]",
            "matches: [{ path: { value: /p }, queryParams: [{ name: animal, value: whale }] }]",
            "matches: [{ path: { value: /p }, queryParams: [{ name: animal, value: whale }, { name: color, value: blue }] }]",
            "matches: [{ path: { value: /p }, headers: [{ name: version, value: one }] }]",
            "matches: [{ path: { value: /p }, headers: [{ name: version, value: one }, { name: color, value: red }] }]",
            "matches: [{ path: { value: /p }, method: PATCH }]",
        ]),
        &[
            ("GET", "/p", NONE, "r/0"),
            ("GET", "/p?animal=whale", NONE, "r/1"),
            ("GET", "/p?color=blue&animal=whale", NONE, "r/2"),
            ("GET", "/p?animal=dolphin&animal=whale", NONE, "r/0"),
            (
                "GET",
                "/p?animal=whale&color=blue",
                &[("version", "one")],
                "r/3",
            ),
            ("GET", "/p", &[("Version", "one"), ("color", "red")], "r/4"),
            (
                "PATCH",
                "/p?animal=whale",
                &[("version", "one"), ("color", "red")],
                "r/5",
            ),
        ],
    );
}

#[test]
fn httproute_headers_are_anded_and_any_one_match_of_a_rule_will_do() {
    // conformance: HTTPRouteHeaderMatching
    table(
        &rows_text(&[
            "matches: [{ headers: [{ name: version, value: two }, { name: color, value: orange }] }]",
            "matches: [{ headers: [{ name: color, value: blue }] }, { headers: [{ name: color, value: green }] }]",
            "matches: [{ headers: [{ type: RegularExpression, name: color, value: 'yel+ow|r.d' }] }]",
        ]),
        &[
            ("GET", "/", &[("version", "two")], "-"),
            (
                "GET",
                "/",
                &[("version", "two"), ("color", "orange")],
                "r/0",
            ),
            ("GET", "/", &[("color", "blue")], "r/1"),
            ("GET", "/", &[("COLOR", "green")], "r/1"),
            ("GET", "/", &[("color", "Green")], "-"),
            ("GET", "/", &[("color", "yelllow")], "r/2"),
            ("GET", "/", &[("color", "reds")], "-"),
        ],
    );
}

#[test]
fn httproute_matching_across_routes_is_by_specificity_and_ties_go_to_the_first_by_name() {
    // conformance: HTTPRouteMatchingAcrossRoutes. Nothing has a creation time here, so the second
    // criterion of the specification decides: alphabetical order of namespace/name.
    let text = [
        rules(
            "HTTPRoute",
            "b",
            &["matches: [{ path: { value: / } }, { headers: [{ name: version, value: one }] }]"],
        ),
        rules(
            "HTTPRoute",
            "a",
            &[
                "matches: [{ path: { value: /v2 } }]",
                "matches: [{ headers: [{ name: color, value: red }] }]",
            ],
        ),
    ];
    table(
        &text.concat(),
        &[
            ("GET", "/", NONE, "b/0"),
            ("GET", "/", &[("version", "one"), ("color", "red")], "a/1"),
            ("GET", "/v2/x", NONE, "a/0"),
            ("GET", "/v2/x", &[("version", "one")], "a/0"),
            ("GET", "/x", &[("version", "one")], "b/0"),
        ],
    );
}

#[test]
fn httproute_ties_within_a_route_go_to_the_first_rule_and_no_matches_is_every_request() {
    table(
        &rows_text(&[
            "name: first, matches: [{ headers: [{ name: a, value: x }] }]",
            "name: second, matches: [{ headers: [{ name: b, value: x }] }]",
            "name: rest",
        ]),
        &[
            ("GET", "/", &[("b", "x"), ("a", "x")], "first"),
            ("GET", "/", &[("b", "x")], "second"),
            ("DELETE", "/any/thing?q", NONE, "rest"),
        ],
    );
}

#[test]
fn httproute_hostnames_the_most_characters_without_a_wildcard_then_the_longest_wildcard() {
    let hosted = |name: &str, host: &str| {
        let spec = format!("  hostnames: ['{host}']\n  rules:\n  - {{ name: {name} }}\n");
        route("HTTPRoute", name, &spec)
    };
    let text = [
        hosted("a-any", "*.com"),
        hosted("b-wide", "*.example.com"),
        hosted("c-exact", "very.specific.com"),
        hosted("d-exact", "foo.example.com"),
    ];
    table(
        &text.concat(),
        &[
            ("GET", "http://very.specific.com/", NONE, "c-exact"),
            ("GET", "http://non.matching.org/", NONE, "-"),
            ("GET", "http://foo.example.com:8080/", NONE, "d-exact"),
            ("GET", "http://FOO.EXAMPLE.COM/", NONE, "d-exact"),
            ("GET", "http://bar.example.com/", NONE, "b-wide"),
            ("GET", "http://a.b.example.com/", NONE, "b-wide"),
            ("GET", "http://example.com/", NONE, "a-any"),
            ("GET", "http://com/", NONE, "-"),
        ],
    );
}

#[test]
fn grpcroute_precedence_is_service_then_method_then_headers() {
    let grpc: &[(&str, &str)] = &[("content-type", "application/grpc")];
    let v2: &[(&str, &str)] = &[
        ("content-type", "application/grpc+proto"),
        ("version", "two"),
    ];
    table(
        &rules(
            "GRPCRoute",
            "g",
            &[
                "matches: [{ headers: [{ name: version, value: two }] }]",
                "matches: [{ method: { service: pkg.Echo } }]",
                "matches: [{ method: { service: pkg.Echo, method: Say } }]",
                "matches: [{ method: { service: pkg.Echo, method: Say }, headers: [{ name: version, value: two }] }]",
                "matches: [{ method: { method: Ping } }]",
                "matches: [{ method: { type: RegularExpression, service: 'pkg\\.E.*', method: 'P.*' } }]",
            ],
        ),
        &[
            ("POST", "/pkg.Echo/Say", v2, "g/3"),
            ("POST", "/pkg.Echo/Say", grpc, "g/2"),
            ("POST", "/pkg.Echo/List", v2, "g/1"),
            ("POST", "/pkg.Else/Ping", grpc, "g/5"),
            ("POST", "/other.Thing/Ping", grpc, "g/4"),
            ("POST", "/other.Thing/List", v2, "g/0"),
            ("POST", "/other.Thing/List", grpc, "-"),
            ("POST", "/pkg.Echo/Say", NONE, "-"),
        ],
    );
}

#[test]
fn grpcroute_if_no_matches_are_specified_every_grpc_request_matches_and_no_other() {
    table(
        &rules("GRPCRoute", "g", &["name: all"]),
        &[
            (
                "POST",
                "/a.B/C",
                &[("content-type", "application/grpc")],
                "all",
            ),
            ("POST", "/a.B/C", NONE, "-"),
        ],
    );
}

#[test]
fn mesh_a_parent_ref_with_a_port_is_for_that_port_only() {
    // conformance: MeshPorts
    let text = "service: shop/web\nports: [{ port: 80 }, { port: 8080 }]\nendpoints: { registered: {} }\n\
        ---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: p, namespace: shop }\n\
        spec:\n  parentRefs: [{ group: '', kind: Service, name: web, port: 80 }]\n  rules: [{ name: on-80 }]\n";
    let snapshot = snapshot(text, &Options::partial());
    let name = mesh_core::name::ServiceName::new("shop", "web").unwrap();
    let service = snapshot.outbound().service(&name).unwrap();
    let at = |port| {
        let found = service.routes(Some(port)).find(
            &Method::GET,
            &Uri::from_static("/"),
            &HeaderMap::new(),
        );
        found.unwrap().name().to_string()
    };
    assert_eq!(at(80), "on-80");
    assert_eq!(at(8080), "web/default");
}

#[test]
fn gamma_a_consumer_route_is_for_callers_of_its_namespace_and_replaces_the_producers_routes() {
    // conformance: MeshConsumerRoute; GEP-1294
    let text = "service: shop/echo\nendpoints: { registered: {} }\n---\n\
        apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: producer, namespace: shop }\n\
        spec:\n  parentRefs: [{ group: '', kind: Service, name: echo }]\n  rules: [{ name: producer }]\n---\n\
        apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: consumer, namespace: web }\n\
        spec:\n  parentRefs: [{ group: '', kind: Service, name: echo, namespace: shop }]\n\
        \x20 rules: [{ name: consumer, backendRefs: [{ name: echo, namespace: shop }] }]\n";
    for (local, expected) in [
        ("web/front", "consumer"),
        ("other/job", "producer"),
        ("shop/cart", "producer"),
    ] {
        let local = mesh_core::name::ServiceName::parse(local, "shop").unwrap();
        let snapshot = snapshot(text, &Options::partial().with_local_service(local));
        ask(echo(&snapshot), &("GET", "/", NONE, expected));
    }
}

#[test]
fn replace_prefix_match_replaces_the_prefix_that_matched_and_not_a_longer_one_of_the_rule() {
    let text = rows_text(&[
        "matches: [{ path: { value: /one }, headers: [{ name: a, value: b }] }, { path: { value: /one/two }, headers: [{ name: c, value: d }] }], \
         filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /new } } }]",
    ]);
    let snapshot = policy(&text);
    let table = echo(&snapshot).routes(None);
    for (header, expected) in [("a", "/new/two/x"), ("c", "/new/x")] {
        let value = if header == "a" { "b" } else { "d" };
        let headers = HeaderMap::from_iter([(
            HeaderName::from_static(if header == "a" { "a" } else { "c" }),
            HeaderValue::from_static(value),
        )]);
        let uri = Uri::from_static("/one/two/x");
        let matched = table.find_match(&Method::GET, &uri, &headers).unwrap();
        let Some(Filter::Rewrite(rewrite)) = matched.route.filters().first() else {
            panic!("no rewrite");
        };
        let path = rewrite
            .path()
            .unwrap()
            .apply(uri.path(), Some(matched.prefix()));
        assert_eq!(path, expected);
    }
}

#[test]
fn what_the_specification_forbids_is_refused() {
    for (rule, code) in [
        // "This MUST NOT be used on the same Route rule as a HTTPRequestRedirect filter."
        (
            "filters: [{ type: URLRewrite, urlRewrite: { hostname: a.b } }, { type: RequestRedirect, requestRedirect: { hostname: a.b } }]",
            "M3008",
        ),
        // "ReplacePrefixMatch is only compatible with a PathPrefix HTTPRouteMatch."
        (
            "matches: [{ path: { type: Exact, value: /a } }], filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /b } } }]",
            "M3008",
        ),
        // "Must begin with the `/` character", "Must not contain consecutive `/` characters"
        ("matches: [{ path: { value: a } }]", "M3008"),
        ("matches: [{ path: { value: /a//b } }]", "M3008"),
        ("matches: [{ path: { value: /a/../b } }]", "M3008"),
        ("matches: [{ path: { value: /a/%2f/b } }]", "M3008"),
        // "Specifying the same filter multiple times is not supported"
        (
            "filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { remove: [a] } }, { type: RequestHeaderModifier, requestHeaderModifier: { remove: [b] } }]",
            "M3021",
        ),
        // "Only one action for a given header name is permitted."
        (
            "filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: A, value: x }], remove: [a] } }]",
            "M3021",
        ),
        // "Only one of Fraction or Percent may be specified."
        (
            "filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: echo }, percent: 5, fraction: { numerator: 1 } } }]",
            "M3008",
        ),
        // ours is stricter than the specification, which has the second one ignored in silence
        (
            "matches: [{ headers: [{ name: a, value: x }, { name: A, value: y }] }]",
            "M3021",
        ),
        // "Unknown values here must result in ... UnsupportedValue"
        ("matches: [{ method: FETCH }]", "M3008"),
    ] {
        let found = checked(
            &format!("{SERVICES}{}", rows_text(&[rule])),
            &Options::partial(),
        );
        assert!(found.snapshot.is_none(), "{rule}");
        assert!(found.rendered.contains(code), "{rule}\n{}", found.rendered);
    }
}
