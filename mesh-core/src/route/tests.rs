use std::sync::Arc;

use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use proptest::prelude::*;

use super::*;
use crate::policy::model::{
    BackendIx, HeaderMatch, Hostname, PathMatch, Pattern, QueryMatch, Route, RouteMatch, Target,
    ValueMatch,
};

fn route(name: &str, matches: Vec<RouteMatch>) -> Arc<Route> {
    let split = Split::one(BackendIx(0));
    Arc::new(Route::new(name, split).with_matches(matches))
}

fn table(routes: &[(&str, RouteMatch)]) -> RouteTable {
    RouteTable::new(routes.iter().map(|(name, m)| route(name, vec![m.clone()])))
}

fn exact(path: &str) -> RouteMatch {
    RouteMatch::any().with_path(PathMatch::Exact(path.into()))
}

fn prefix(path: &str) -> RouteMatch {
    RouteMatch::any().with_path(PathMatch::prefix(path))
}

fn regex(path: &str) -> RouteMatch {
    RouteMatch::any().with_path(PathMatch::Regex(Pattern::new(path).unwrap()))
}

fn header(name: &'static str, value: &str) -> HeaderMatch {
    HeaderMatch::new(
        HeaderName::from_static(name),
        ValueMatch::Exact(value.into()),
    )
}

fn query(name: &str, value: &str) -> QueryMatch {
    QueryMatch::new(name, ValueMatch::Exact(value.into()))
}

fn find<'a>(table: &'a RouteTable, method: &str, uri: &str, headers: &[(&str, &str)]) -> &'a str {
    let uri: Uri = uri.parse().unwrap();
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        })
        .collect();
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    table
        .find(&method, &uri, &headers)
        .map_or("-", |r| r.name())
}

fn get<'a>(table: &'a RouteTable, uri: &str) -> &'a str {
    find(table, "GET", uri, &[])
}

#[test]
fn paths_precede_by_exact_then_length_then_expression_then_the_rest() {
    let table = table(&[
        ("rest", RouteMatch::any()),
        ("root", prefix("/")),
        ("regex", regex("/a/.*")),
        ("longer regex", regex("/a/[a-z]+/[0-9]+")),
        ("a", prefix("/a")),
        ("a/b", prefix("/a/b")),
        ("exact", exact("/a/b/c")),
    ]);
    assert_eq!(get(&table, "/a/b/c"), "exact");
    assert_eq!(get(&table, "/a/b/d"), "a/b");
    assert_eq!(get(&table, "/a/b"), "a/b");
    assert_eq!(get(&table, "/a/bc"), "a");
    assert_eq!(get(&table, "/a"), "a");
    assert_eq!(get(&table, "/b"), "rest");
    assert_eq!(get(&table, "/ab"), "rest");
}

#[test]
fn an_expression_wins_against_the_rule_for_the_rest() {
    let table = table(&[
        ("root", prefix("/")),
        ("short", regex("/v[0-9]/.*")),
        ("long", regex("/v[0-9]/(reviews|ratings)")),
    ]);
    assert_eq!(get(&table, "/v1/reviews"), "long");
    assert_eq!(get(&table, "/v1/x"), "short");
    assert_eq!(get(&table, "/v1"), "root");
}

#[test]
fn a_method_precedes_headers_and_these_precede_queries() {
    let table = table(&[
        ("rest", prefix("/a")),
        ("query", prefix("/a").with_query(query("q", "1"))),
        ("header", prefix("/a").with_header(header("x", "1"))),
        (
            "two headers",
            prefix("/a")
                .with_header(header("x", "1"))
                .with_header(header("y", "1")),
        ),
        ("method", prefix("/a").with_method(Method::POST)),
    ]);
    let all = [("x", "1"), ("y", "1")];
    assert_eq!(find(&table, "POST", "/a?q=1", &all), "method");
    assert_eq!(find(&table, "GET", "/a?q=1", &all), "two headers");
    assert_eq!(find(&table, "GET", "/a?q=1", &all[..1]), "header");
    assert_eq!(find(&table, "GET", "/a?q=1", &[]), "query");
    assert_eq!(find(&table, "GET", "/a", &[("x", "2")]), "rest");
}

#[test]
fn a_more_specific_path_that_does_not_accept_lets_the_next_one_try() {
    let table = table(&[
        ("post exact", exact("/a/b").with_method(Method::POST)),
        ("post long", prefix("/a/b").with_method(Method::POST)),
        ("short", prefix("/a")),
    ]);
    assert_eq!(find(&table, "POST", "/a/b", &[]), "post exact");
    assert_eq!(find(&table, "POST", "/a/b/c", &[]), "post long");
    assert_eq!(find(&table, "GET", "/a/b", &[]), "short");
    assert_eq!(find(&table, "GET", "/b", &[]), "-");
}

#[test]
fn of_equal_matches_the_first_in_the_policy_wins() {
    let table = RouteTable::new([
        route("first", vec![exact("/x"), prefix("/a")]),
        route("second", vec![prefix("/a"), exact("/y")]),
    ]);
    assert_eq!(get(&table, "/a"), "first");
    assert_eq!(get(&table, "/x"), "first");
    assert_eq!(get(&table, "/y"), "second");
}

#[test]
fn hosts_precede_everything_else() {
    let with_host = |name: &str, host: Option<Hostname>, m: RouteMatch| {
        let route = Route::new(name, Split::one(BackendIx(0)));
        Arc::new(
            route
                .with_matches(vec![m])
                .with_hostnames(host.into_iter().collect()),
        )
    };
    let suffix = |text: &str| Some(Hostname::Suffix(text.into()));
    let table = RouteTable::new([
        with_host("any", None, exact("/a")),
        with_host("wide", suffix(".example.com"), prefix("/a")),
        with_host("narrow", suffix(".b.example.com"), prefix("/a")),
        with_host(
            "exact",
            Some(Hostname::Exact("c.b.example.com".into())),
            prefix("/a/b"),
        ),
    ]);
    assert_eq!(get(&table, "http://c.b.example.com:8080/a/b"), "exact");
    assert_eq!(get(&table, "http://c.b.example.com/a"), "narrow");
    assert_eq!(get(&table, "http://x.example.com/a"), "wide");
    assert_eq!(get(&table, "http://x.example.com/c"), "-");
    assert_eq!(get(&table, "http://[::1]:80/a"), "any");
    let host = HOST.as_str();
    assert_eq!(
        find(&table, "GET", "/a", &[(host, "X.EXAMPLE.COM:80")]),
        "wide"
    );
    assert_eq!(get(&table, "/a"), "any");
}

#[test]
fn grpc_services_and_methods_precede_by_length() {
    let table = table(&[
        ("rest", RouteMatch::any().only_grpc()),
        ("service", prefix("/shop.Reviews").only_grpc()),
        ("method", exact("/shop.Reviews/Get").only_grpc()),
        ("any service", regex("/[^/]+/Get").only_grpc()),
    ]);
    let grpc = [(CONTENT_TYPE.as_str(), "application/grpc")];
    let call = |path| find(&table, "POST", path, &grpc);
    assert_eq!(call("/shop.Reviews/Get"), "method");
    assert_eq!(call("/shop.Reviews/List"), "service");
    assert_eq!(call("/shop.Ratings/Get"), "any service");
    assert_eq!(call("/shop.Ratings/List"), "rest");
    assert_eq!(find(&table, "POST", "/shop.Reviews/Get", &[]), "-");
}

#[test]
fn any_value_of_a_repeated_header_will_do() {
    let table = table(&[("x", RouteMatch::any().with_header(header("x", "2")))]);
    assert_eq!(find(&table, "GET", "/", &[("x", "2")]), "x");
    let mut headers = HeaderMap::new();
    headers.append("x", HeaderValue::from_static("1"));
    headers.append("x", HeaderValue::from_static("2"));
    assert!(
        table
            .find(&Method::GET, &Uri::from_static("/"), &headers)
            .is_some()
    );
}

#[test]
fn a_split_of_90_to_10_is_exact_to_0_3_percent() {
    let split = Split::new([
        Target::new(BackendIx(0), 90),
        Target::new(BackendIx(1), 0),
        Target::new(BackendIx(2), 10),
    ]);
    let mut rng = fastrand::Rng::with_seed(9);
    let mut hits = [0_u32; 3];
    for _ in 0..100_000 {
        hits[split.pick(&mut rng).unwrap().get()] += 1;
    }
    println!("90/10 at 100,000 calls: {hits:?}");
    assert_eq!(hits[1], 0);
    assert!(hits[0].abs_diff(90_000) <= 300, "{hits:?}");
}

#[test]
fn a_path_of_many_slashes_is_looked_at_only_as_far_as_prefixes_reach() {
    let table = table(&[("a", prefix("/a/b"))]);
    let path = format!("/a/b{}", "/".repeat(60_000));
    assert_eq!(get(&table, &path), "a");
}

/// All conditions in order of precedence, tried one by one: what the index must agree with.
fn slow<'a>(
    routes: &'a [(String, RouteMatch)],
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Option<&'a str> {
    let rank = |m: &RouteMatch| match m.path() {
        Some(PathMatch::Exact(_)) => (0, 0),
        Some(PathMatch::Prefix(text)) if !text.is_empty() => (1, usize::MAX - text.len()),
        Some(PathMatch::Regex(pattern)) => (2, usize::MAX - pattern.as_str().len()),
        _ => (3, 0),
    };
    routes
        .iter()
        .enumerate()
        .filter(|(_, (_, m))| accepts(m, method, uri, headers))
        .min_by_key(|(at, (_, m))| {
            let headers = usize::MAX - m.headers().len();
            (
                rank(m),
                m.method().is_none(),
                headers,
                usize::MAX - m.query().len(),
                *at,
            )
        })
        .map(|(_, (name, _))| name.as_str())
}

fn any_match() -> impl Strategy<Value = RouteMatch> {
    let path = "(/[ab]){0,3}";
    let kind = prop_oneof![
        path.prop_map(|p| exact(if p.is_empty() { "/" } else { &p })),
        path.prop_map(|p| prefix(&p)),
        "(/[ab.]){1,2}".prop_map(|p| regex(&p)),
        Just(RouteMatch::any()),
    ];
    (kind, any::<bool>(), 0_usize..3, any::<bool>()).prop_map(|(m, post, headers, q)| {
        let m = if post { m.with_method(Method::POST) } else { m };
        let names = ["x", "y"];
        let m = names[..headers]
            .iter()
            .fold(m, |m, name| m.with_header(header(name, "1")));
        if q { m.with_query(query("q", "1")) } else { m }
    })
}

#[test]
fn steps_name_each_condition_in_the_order_of_precedence() {
    let hosted = Route::new("host", Split::one(BackendIx(0)))
        .with_hostnames(vec![Hostname::Exact("a.example".into())]);
    let plain = [
        ("rest", RouteMatch::any()),
        ("regex", regex("/a/.*")),
        ("a", prefix("/a")),
        (
            "a with a header",
            prefix("/a").with_header(header("x", "1")),
        ),
        ("a/b", prefix("/a/b")),
        ("exact", exact("/a/b")),
    ];
    let routes = plain.iter().map(|(name, m)| route(name, vec![m.clone()]));
    let table = RouteTable::new(routes.chain([Arc::new(hosted)]));
    let names: Vec<_> = table.steps().map(|step| &**step.route.name()).collect();
    assert_eq!(
        names,
        [
            "host",
            "exact",
            "a/b",
            "a with a header",
            "a",
            "regex",
            "rest"
        ]
    );
}

proptest! {
    #[test]
    fn the_index_agrees_with_trying_one_by_one(
        matches in proptest::collection::vec(any_match(), 0..12),
        path in "(/[abc]?){1,4}", post in any::<bool>(), headers in 0_usize..3, q in any::<bool>()
    ) {
        let routes: Vec<_> = matches.into_iter().enumerate().map(|(i, m)| (i.to_string(), m)).collect();
        let table = RouteTable::new(routes.iter().map(|(name, m)| route(name, vec![m.clone()])));
        let uri: Uri = format!("{path}{}", if q { "?q=1" } else { "" }).parse().unwrap();
        let method = if post { Method::POST } else { Method::GET };
        let headers: HeaderMap = ["x", "y"][..headers]
            .iter()
            .map(|name| (HeaderName::from_static(name), HeaderValue::from_static("1")))
            .collect();
        let found = table.find(&method, &uri, &headers).map(|r| &**r.name());
        prop_assert_eq!(found, slow(&routes, &method, &uri, &headers));
        let first = table.steps().find(|step| accepts(step.condition, &method, &uri, &headers));
        prop_assert_eq!(found, first.map(|step| &**step.route.name()));
    }
}
