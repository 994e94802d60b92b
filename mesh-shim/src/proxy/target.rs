//! Who is asked: the one authority of a request, or a refusal.

use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Uri, Version};

/// Why a request has no usable target; a 400 with this text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadTarget(pub(crate) &'static str);

/// Makes the request's URI absolute, `http://authority/path`, and the `Host` field agree with it.
///
/// * Absolute form: the URI names the target, whatever `Host` says (RFC 9112 3.2.2).
/// * Origin form: `Host` names it. Absent or more than one: refused (RFC 9112 3.2).
/// * HTTP/2: `:authority` names it; a `host` field that says otherwise is refused (RFC 9113 8.3.1).
pub(crate) fn absolute<B>(request: &mut Request<B>) -> Result<(), BadTarget> {
    if request.headers().get_all(HOST).iter().count() > 1 {
        return Err(BadTarget("more than one Host field"));
    }
    let uri = request.uri();
    if uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTP)
        && request.version() < Version::HTTP_2
    {
        return Err(BadTarget(
            "only http:// can be asked of this proxy; the mesh encrypts by itself",
        ));
    }
    let host = request
        .headers()
        .get(HOST)
        .map(|value| Authority::try_from(value.as_bytes()).map_err(|_| BadTarget("bad Host field")))
        .transpose()?;
    let authority = match (uri.authority(), host) {
        (Some(named), Some(host)) if request.version() >= Version::HTTP_2 && *named != host => {
            return Err(BadTarget(":authority and Host differ"));
        }
        (Some(named), _) => named.clone(),
        (None, Some(host)) => host,
        (None, None) => return Err(BadTarget("no Host field")),
    };
    if authority.as_str().contains('@') {
        return Err(BadTarget("a user name in the target"));
    }
    set_authority(request, &authority)
}

/// Sends the request to `authority`, path and query kept.
pub(crate) fn set_authority<B>(
    request: &mut Request<B>,
    authority: &Authority,
) -> Result<(), BadTarget> {
    let path = request.uri().path_and_query().cloned();
    // `OPTIONS http://host HTTP/1.1` has an empty path.
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let uri = Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(authority.clone())
        .path_and_query(path)
        .build()
        .map_err(|_| BadTarget("bad target"))?;
    *request.uri_mut() = uri;
    let value = HeaderValue::from_str(authority.as_str()).map_err(|_| BadTarget("bad target"))?;
    request.headers_mut().insert(HOST, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(
        version: Version,
        uri: &str,
        hosts: &[&str],
    ) -> Result<(String, String), &'static str> {
        let mut request = Request::builder().version(version).uri(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let mut request = request.body(()).unwrap();
        absolute(&mut request).map_err(|error| error.0)?;
        let host = request.headers()[HOST].to_str().unwrap().to_owned();
        Ok((request.uri().to_string(), host))
    }

    fn ok(uri: &str, host: &str) -> Result<(String, String), &'static str> {
        Ok((uri.to_owned(), host.to_owned()))
    }

    #[test]
    fn absolute_form_wins_over_host() {
        let got = target(Version::HTTP_11, "http://reviews.shop/7?x=1", &["other"]);
        assert_eq!(got, ok("http://reviews.shop/7?x=1", "reviews.shop"));
        let got = target(Version::HTTP_10, "http://reviews.shop", &[]);
        assert_eq!(got, ok("http://reviews.shop/", "reviews.shop"));
    }

    #[test]
    fn origin_form_needs_exactly_one_host() {
        let got = target(Version::HTTP_11, "/7", &["reviews.shop:8080"]);
        assert_eq!(got, ok("http://reviews.shop:8080/7", "reviews.shop:8080"));
        assert_eq!(target(Version::HTTP_11, "/7", &[]), Err("no Host field"));
        assert_eq!(
            target(Version::HTTP_11, "/7", &["a", "a"]),
            Err("more than one Host field")
        );
        assert_eq!(
            target(Version::HTTP_11, "/7", &["a b"]),
            Err("bad Host field")
        );
    }

    #[test]
    fn http2_refuses_a_host_that_differs() {
        assert!(target(Version::HTTP_2, "http://a/7", &["a"]).is_ok());
        assert_eq!(
            target(Version::HTTP_2, "http://a/7", &["b"]),
            Err(":authority and Host differ")
        );
    }

    #[test]
    fn a_user_name_or_https_is_refused() {
        assert_eq!(
            target(Version::HTTP_11, "http://u@a/7", &["a"]),
            Err("a user name in the target")
        );
        assert!(target(Version::HTTP_11, "https://a/7", &["a"]).is_err());
    }
}
