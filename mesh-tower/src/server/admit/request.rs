use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version, header, uri};

use crate::{
    headers::{find, hop},
    server::Limits,
    upgrade,
};

/// How requests may look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Form {
    /// A server: the target is a path, CONNECT has no meaning.
    Origin,
    /// A forward proxy: absolute targets keep their authority, CONNECT goes to the service.
    Proxy,
}

/// Checks a request and puts it into the form that the stack expects.
pub(in crate::server) fn request<B>(
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
pub(in crate::server) fn framing(headers: &HeaderMap) -> Result<(), StatusCode> {
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

/// Whether a request (already checked) asks for an upgrade.
pub(in crate::server) fn is_upgradable<B>(request: &Request<B>) -> bool {
    request.version() < Version::HTTP_2
        && (find(request.headers(), &header::UPGRADE).is_some()
            || request.method() == Method::CONNECT)
}
