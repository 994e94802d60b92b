//! Who is asked: the one authority of a request, or a refusal.

use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Uri, Version};

/// Why a request has no usable target; a 400 with this text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadTarget(pub(crate) &'static str);

/// An authority, in the two forms that a request has it in.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    authority: Authority,
    host: HeaderValue,
}

impl Named {
    /// The authority as text.
    pub(crate) fn as_str(&self) -> &str {
        self.authority.as_str()
    }
}

impl TryFrom<Authority> for Named {
    type Error = BadTarget;

    fn try_from(authority: Authority) -> Result<Self, BadTarget> {
        let host = HeaderValue::from_str(authority.as_str());
        let host = host.map_err(|_| BadTarget("bad target"))?;
        Ok(Self { authority, host })
    }
}

/// Makes the request's URI absolute, `http://authority/path`, and the `Host` field agree with it.
/// That there is at most one `Host`, and that it and `:authority` agree, the listener has seen to.
///
/// * Absolute form: the URI names the target, whatever `Host` says (RFC 9112 3.2.2).
/// * Origin form: `Host` names it.
pub(crate) fn absolute<B>(request: &mut Request<B>) -> Result<(), BadTarget> {
    let uri = request.uri();
    if uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTP)
        && request.version() < Version::HTTP_2
    {
        return Err(BadTarget(
            "only http:// can be asked of this proxy; the mesh encrypts by itself",
        ));
    }
    let named = match (uri.authority(), request.headers().get(HOST)) {
        (Some(named), _) => named.clone().try_into()?,
        (None, Some(host)) => Named {
            authority: Authority::try_from(host.as_bytes())
                .map_err(|_| BadTarget("bad Host field"))?,
            host: host.clone(),
        },
        (None, None) => return Err(BadTarget("no Host field")),
    };
    set(request, &named)
}

/// Sends the request to `named`, path and query kept.
pub(crate) fn set<B>(request: &mut Request<B>, named: &Named) -> Result<(), BadTarget> {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(named.authority.clone());
    // `OPTIONS http://host HTTP/1.1` has an empty path.
    parts
        .path_and_query
        .get_or_insert(PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| BadTarget("bad target"))?;
    request.headers_mut().insert(HOST, named.host.clone());
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
    fn origin_form_needs_a_host() {
        let got = target(Version::HTTP_11, "/7", &["reviews.shop:8080"]);
        assert_eq!(got, ok("http://reviews.shop:8080/7", "reviews.shop:8080"));
        assert_eq!(target(Version::HTTP_11, "/7", &[]), Err("no Host field"));
        assert_eq!(
            target(Version::HTTP_11, "/7", &["a b"]),
            Err("bad Host field")
        );
    }

    #[test]
    fn https_is_refused() {
        assert!(target(Version::HTTP_11, "https://a/7", &["a"]).is_err());
        assert!(target(Version::HTTP_2, "https://a/7", &[]).is_ok());
    }
}
