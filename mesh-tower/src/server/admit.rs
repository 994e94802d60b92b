//! What hyper leaves to us: requests that are well-formed bytes but not acceptable HTTP, and
//! fields that belong to one hop.

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, uri,
};
use http_body::Body as _;

use super::{Limits, ends::Phantom};
use crate::{
    body::MeshBody,
    headers::{find, hop},
    upgrade,
};

/// How requests may look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A server: the target is a path, CONNECT has no meaning.
    Origin,
    /// A forward proxy: absolute targets keep their authority, CONNECT goes to the service.
    Proxy,
}

/// Checks a request and puts it into the form that the stack expects.
pub(super) fn request<B>(
    request: &mut Request<B>,
    form: Form,
    limits: &Limits,
) -> Result<(), StatusCode> {
    let h1 = request.version() < Version::HTTP_2;
    if request.headers().len() > limits.header_fields {
        return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    if request.method() == Method::CONNECT {
        return match form {
            Form::Origin => Err(StatusCode::METHOD_NOT_ALLOWED),
            Form::Proxy => Ok(()),
        };
    }
    let target = request.uri();
    // Userinfo in an authority is how phishing looks (RFC 9110 4.2.4).
    if target
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err(StatusCode::BAD_REQUEST);
    }
    let path = target.path();
    let asterisk = path == "*" && request.method() == Method::OPTIONS;
    if !path.starts_with('/') && !asterisk {
        return Err(StatusCode::BAD_REQUEST);
    }
    check_host(request, h1)?;
    if h1 {
        if request.uri().authority().is_some() {
            match form {
                Form::Origin => to_origin_form(request)?,
                // The mesh encrypts by itself: `https` in the clear means something else.
                Form::Proxy if request.uri().scheme() != Some(&uri::Scheme::HTTP) => {
                    return Err(StatusCode::BAD_REQUEST);
                }
                Form::Proxy => {}
            }
        }
        let is_11 = request.version() == Version::HTTP_11;
        // RFC 9110 7.8: a server ignores an upgrade in HTTP/1.0.
        hop::strip(request.headers_mut(), |headers| {
            is_11.then(|| upgrade::allowed(headers)).flatten()
        });
    }
    Ok(())
}

/// Where the body of an HTTP/1 request ends must be said in one way that everybody reads alike
/// (RFC 9112 6.1 and 6.3): `chunked` and nothing else, without a length beside it. Codings other than
/// that would be lost on the way, since the coding belongs to one connection.
pub(super) fn framing(headers: &HeaderMap) -> Result<(), StatusCode> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return Ok(());
    };
    let chunked = coding
        .as_bytes()
        .trim_ascii()
        .eq_ignore_ascii_case(b"chunked");
    if !chunked || codings.next().is_some() || headers.contains_key(header::CONTENT_LENGTH) {
        return Err(StatusCode::BAD_REQUEST);
    }
    Ok(())
}

/// Exactly one Host in HTTP/1.1 (RFC 9112 3.2); in HTTP/2 at most one, and no other one than
/// `:authority` (RFC 9113 8.3.1).
fn check_host<B>(request: &Request<B>, h1: bool) -> Result<(), StatusCode> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(StatusCode::BAD_REQUEST);
    }
    let Some(host) = host else {
        let optional = !h1 || request.version() < Version::HTTP_11;
        return if optional {
            Ok(())
        } else {
            Err(StatusCode::BAD_REQUEST)
        };
    };
    let parsed = uri::Authority::try_from(host.as_bytes()).map_err(|_| StatusCode::BAD_REQUEST)?;
    if !has_good_port(&parsed) {
        return Err(StatusCode::BAD_REQUEST);
    }
    if parsed.as_str().contains('@') {
        return Err(StatusCode::BAD_REQUEST);
    }
    let authority = request.uri().authority();
    if !h1 && authority.is_some_and(|authority| *authority != parsed) {
        return Err(StatusCode::BAD_REQUEST);
    }
    Ok(())
}

/// No port, an empty one, or a number (RFC 3986 3.2.3): `a:x` is an authority to the parser.
fn has_good_port(authority: &uri::Authority) -> bool {
    let (text, host) = (authority.as_str(), authority.host());
    let port = text.strip_prefix(host).unwrap_or_default();
    port.is_empty() || port == ":" || authority.port_u16().is_some()
}

/// `GET http://a/b` to an origin: the target's authority replaces Host (RFC 9112 3.2.2).
fn to_origin_form<B>(request: &mut Request<B>) -> Result<(), StatusCode> {
    let target = request.uri();
    if !matches!(target.scheme_str(), Some("http" | "https")) {
        return Err(StatusCode::BAD_REQUEST);
    }
    let host = target
        .authority()
        .and_then(|authority| HeaderValue::from_str(authority.as_str()).ok())
        .ok_or(StatusCode::BAD_REQUEST)?;
    let path = target
        .path_and_query()
        .cloned()
        .unwrap_or_else(|| uri::PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    request.headers_mut().insert(header::HOST, host);
    Ok(())
}

/// What of a request decides how it may be answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) version: Version,
    pub(super) head: bool,
    /// It asked for an upgrade.
    pub(super) upgradable: bool,
}

/// Puts an answer into a form that may be sent.
pub(super) fn response(response: &mut Response<MeshBody>, asked: Asked) {
    let Asked {
        version,
        head,
        upgradable,
    } = asked;
    let status = response.status();
    let switching = status == StatusCode::SWITCHING_PROTOCOLS;
    if status.as_u16() > 599 || (switching && !upgradable) {
        tracing::warn!(
            target: "mesh::server",
            status = status.as_u16(),
            "the service's answer has a status that cannot be sent"
        );
        *response = Response::new(MeshBody::empty());
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        return;
    }
    if version < Version::HTTP_2 {
        // What the application spoke is of its own connection. hyper makes it that of the request.
        *response.version_mut() = Version::HTTP_11;
    }
    let headers = response.headers_mut();
    if switching {
        hop::strip(headers, |headers| headers.get(header::UPGRADE).cloned());
        headers.remove(header::CONTENT_LENGTH);
        return;
    }
    let close = hop::strip(headers, |_| None) && version < Version::HTTP_2;
    let phantom = match version < Version::HTTP_2 {
        true => Phantom::of(status, headers),
        false => None,
    };
    if close {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(phantom) = phantom
        && response.body().is_end_stream()
    {
        *response.body_mut() = MeshBody::new(phantom);
    }
    let silent = head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if silent && version >= Version::HTTP_2 && !response.body().is_end_stream() {
        without_body(response, head);
    }
}

/// HTTP/1 keeps what must not follow a head to itself; in HTTP/2 hyper sends it, and the peer takes it
/// for a broken stream (RFC 9113 8.1.1).
fn without_body(response: &mut Response<MeshBody>, head: bool) {
    let body = std::mem::take(response.body_mut());
    if let Some(length) = body.size_hint().exact().filter(|_| head) {
        let headers = response.headers_mut().entry(header::CONTENT_LENGTH);
        headers.or_insert_with(|| HeaderValue::from(length));
    }
}

/// Whether a request (already checked) asks for an upgrade.
pub(super) fn is_upgradable<B>(request: &Request<B>) -> bool {
    request.version() < Version::HTTP_2
        && (find(request.headers(), &header::UPGRADE).is_some()
            || request.method() == Method::CONNECT)
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

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
}
