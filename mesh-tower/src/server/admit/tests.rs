use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body as _;

use super::{Asked, Form, is_upgradable, request, response};
use crate::body::MeshBody;
use crate::server::Limits;

const ASKED: Asked = Asked {
    version: Version::HTTP_11,
    head: false,
    upgradable: false,
};

fn check(target: &str, headers: &[(&str, &str)]) -> Result<Request<()>, u16> {
    check_as(Form::Origin, Method::GET, Version::HTTP_11, target, headers)
}

fn check_as(
    form: Form,
    method: Method,
    version: Version,
    target: &str,
    headers: &[(&str, &str)],
) -> Result<Request<()>, u16> {
    let mut built = Request::builder()
        .method(method)
        .version(version)
        .uri(target);
    for (name, value) in headers {
        built = built.header(*name, *value);
    }
    let mut built = built.body(()).unwrap();
    request(&mut built, form, &Limits::default())
        .map(|()| built)
        .map_err(|status| status.as_u16())
}

#[test]
fn http1_needs_exactly_one_host() {
    assert_eq!(check("/", &[]).unwrap_err(), 400);
    assert_eq!(
        check("/", &[("host", "a"), ("host", "a")]).unwrap_err(),
        400
    );
    assert_eq!(check("/", &[("host", "a b")]).unwrap_err(), 400);
    assert_eq!(check("/", &[("host", "u@a")]).unwrap_err(), 400);
    assert!(check("/", &[("host", "a:8080")]).is_ok());
    assert!(check_as(Form::Origin, Method::GET, Version::HTTP_10, "/", &[]).is_ok());
}

#[test]
fn the_authority_of_an_absolute_target_replaces_host() {
    let request = check("http://right:80/b?c", &[("host", "wrong")]).unwrap();
    assert_eq!(request.uri(), "/b?c");
    assert_eq!(request.headers()["host"], "right:80");
    assert_eq!(check("ftp://a/b", &[("host", "a")]).unwrap_err(), 400);
    assert_eq!(check("http://u:p@a/b", &[("host", "a")]).unwrap_err(), 400);
    let proxied = check_as(
        Form::Proxy,
        Method::GET,
        Version::HTTP_11,
        "http://a/b",
        &[("host", "a")],
    );
    assert_eq!(proxied.unwrap().uri(), "http://a/b");
}

#[test]
fn http2_may_not_name_two_hosts() {
    let h2 = |headers| {
        check_as(
            Form::Origin,
            Method::GET,
            Version::HTTP_2,
            "http://a/",
            headers,
        )
    };
    assert!(h2(&[]).is_ok());
    assert!(h2(&[("host", "a")]).is_ok());
    assert_eq!(h2(&[("host", "b")]).unwrap_err(), 400);
}

#[test]
fn connect_has_no_meaning_for_an_origin() {
    let connect = |form| {
        check_as(
            form,
            Method::CONNECT,
            Version::HTTP_11,
            "a:443",
            &[("host", "a")],
        )
    };
    assert_eq!(connect(Form::Origin).unwrap_err(), 405);
    assert!(connect(Form::Proxy).is_ok());
}

#[test]
fn fields_of_the_hop_are_removed() {
    let request = check(
        "/",
        &[
            ("host", "a"),
            ("connection", "close, X-Secret, host"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip"),
            ("upgrade", "h2c"),
            ("x-kept", "1"),
        ],
    )
    .unwrap();
    let left: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
    assert_eq!(left, ["host", "x-kept"]);
}

#[test]
fn a_websocket_keeps_its_upgrade() {
    let request = check(
        "/",
        &[
            ("host", "a"),
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
        ],
    )
    .unwrap();
    assert_eq!(request.headers()["connection"], "upgrade");
    assert_eq!(request.headers()["upgrade"], "websocket");
    assert!(is_upgradable(&request));
}

#[test]
fn an_answer_nobody_asked_for_is_not_sent() {
    for status in [101, 600, 999] {
        let mut answer = Response::builder()
            .status(status)
            .body(MeshBody::empty())
            .unwrap();
        response(&mut answer, ASKED);
        assert_eq!(answer.status(), 502);
    }
    let mut answer = Response::builder()
        .header("connection", "close, x-hop")
        .header("x-hop", "1")
        .header("keep-alive", "timeout=5")
        .header("transfer-encoding", "chunked")
        .body(MeshBody::empty())
        .unwrap();
    response(&mut answer, ASKED);
    assert_eq!(answer.headers().len(), 1);
    assert_eq!(answer.headers()["connection"], "close");
}

#[test]
fn nothing_follows_a_head_where_nothing_may() {
    for (head, status, length) in [
        (true, 503, Some("6")),
        (false, 204, None),
        (false, 304, None),
    ] {
        let answer = Response::builder().status(status);
        let mut answer = answer.body(MeshBody::full("failed")).unwrap();
        let version = Version::HTTP_2;
        response(
            &mut answer,
            Asked {
                version,
                head,
                ..ASKED
            },
        );
        assert!(answer.body().is_end_stream(), "{status}");
        let length_said = answer.headers().get(header::CONTENT_LENGTH);
        assert_eq!(
            length_said.map(HeaderValue::as_bytes),
            length.map(str::as_bytes)
        );
    }
}

#[test]
fn too_many_fields_are_refused() {
    let mut request_ = Request::builder()
        .uri("/")
        .header("host", "a")
        .body(())
        .unwrap();
    for n in 0..100 {
        let name = HeaderName::from_bytes(format!("x-{n}").as_bytes()).unwrap();
        request_
            .headers_mut()
            .insert(name, HeaderValue::from_static("1"));
    }
    let refused = request(&mut request_, Form::Origin, &Limits::default());
    assert_eq!(refused, Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
}
