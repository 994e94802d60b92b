//! What a request's head must look like on the wire: `Host`, `:authority`, the form of the target.

use std::net::SocketAddr;
use std::sync::OnceLock;

use http::header::InvalidHeaderValue;
use http::header::{CONTENT_TYPE, HOST, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};

use crate::headers::hop;
use crate::upgrade;

/// The authority of requests that name none, in the forms that are needed, made once.
#[derive(Debug)]
pub(super) struct Names {
    authority: Authority,
    host: HeaderValue,
    /// The first authority that a request has named: as a rule they all name the same.
    named: OnceLock<(Authority, HeaderValue)>,
    scheme: Scheme,
}

// === impl Names ===

impl Names {
    pub(super) fn new(authority: Option<&str>, addr: SocketAddr, tls: bool) -> Self {
        let text = addr.to_string();
        let parse = |text: &str| {
            let authority = text.parse::<Authority>().ok()?;
            let host = HeaderValue::from_str(text).ok()?;
            Some((authority, host))
        };
        let (authority, host) = authority
            .and_then(parse)
            .or_else(|| parse(&text))
            // An address always parses.
            .unwrap_or((
                Authority::from_static("invalid"),
                HeaderValue::from_static("invalid"),
            ));
        Self {
            authority,
            host,
            named: OnceLock::new(),
            scheme: if tls { Scheme::HTTPS } else { Scheme::HTTP },
        }
    }

    /// RFC 9112 section 3.2: origin form, and exactly one `Host` that agrees with the target.
    pub(super) fn for_http1<B>(&self, request: &mut Request<B>) {
        *request.version_mut() = Version::HTTP_11;
        let uri = request.uri();
        let named = uri.authority().map(|authority| {
            if let Some((named, host)) = self.named.get()
                && named.as_str() == authority.as_str()
            {
                return Ok(host.clone());
            }
            if *authority == self.authority {
                return Ok(self.host.clone());
            }
            // RFC 9110 section 4.2.4: user names do not go on the wire.
            let text = authority.as_str();
            let host = text.rsplit_once('@').map_or(text, |(_, host)| host);
            let host = HeaderValue::from_str(host)?;
            let _ = self.named.set((authority.clone(), host.clone()));
            Ok::<_, InvalidHeaderValue>(host)
        });
        let connect = request.method() == Method::CONNECT;
        if !connect && (uri.scheme().is_some() || uri.authority().is_some()) {
            let path = std::mem::take(request.uri_mut())
                .into_parts()
                .path_and_query;
            *request.uri_mut() = path
                .unwrap_or_else(|| PathAndQuery::from_static("/"))
                .into();
        }
        let headers = request.headers_mut();
        match named {
            Some(Ok(host)) => {
                headers.insert(HOST, host);
            }
            _ => {
                headers.entry(HOST).or_insert_with(|| self.host.clone());
            }
        }
        hop::strip(headers, |headers| {
            let asked = upgrade::is_asked(headers);
            asked.then(|| headers.get(UPGRADE).cloned()).flatten()
        });
    }

    /// RFC 9113 section 8.3.1: scheme and `:authority` in the target, no `Host`.
    pub(super) fn for_http2<B>(&self, request: &mut Request<B>) {
        *request.version_mut() = Version::HTTP_2;
        let host = request.headers_mut().remove(HOST);
        let uri = request.uri_mut();
        if request_is_complete(uri, &self.scheme) {
            return;
        }
        let mut parts = std::mem::take(uri).into_parts();
        let given = parts.authority.take().or_else(|| {
            let host = host?;
            if host == self.host {
                return None;
            }
            Authority::try_from(host.as_bytes()).ok()
        });
        parts.authority = Some(given.unwrap_or_else(|| self.authority.clone()));
        parts.scheme = Some(self.scheme.clone());
        parts
            .path_and_query
            .get_or_insert(PathAndQuery::from_static("/"));
        // All three are there: this cannot fail.
        *uri = Uri::from_parts(parts).unwrap_or_default();
        // hyper removes the connection-specific fields.
    }
}

fn request_is_complete(uri: &Uri, scheme: &Scheme) -> bool {
    uri.scheme() == Some(scheme) && uri.authority().is_some()
}

/// Whether the request is gRPC, which needs HTTP/2.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let grpc = b"application/grpc";
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(grpc))
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use http::header::CONNECTION;

    use super::*;

    fn names() -> Names {
        Names::new(
            Some("reviews.shop"),
            "127.0.0.1:80".parse().expect("an address"),
            false,
        )
    }

    fn request(uri: &str, headers: &[(&'static str, &str)]) -> Request<()> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request")
    }

    #[test]
    fn http1_has_origin_form_and_one_host() {
        for (uri, sent, host) in [
            ("http://reviews.shop/a?b=1", &[][..], "reviews.shop"),
            (
                "http://reviews.shop/a?b=1",
                &[("host", "evil")],
                "reviews.shop",
            ),
            ("http://me@other.shop:81/a?b=1", &[], "other.shop:81"),
            ("/a?b=1", &[], "reviews.shop"),
            ("/a?b=1", &[("host", "kept")], "kept"),
        ] {
            let mut request = request(uri, sent);
            names().for_http1(&mut request);
            assert_eq!(request.uri(), "/a?b=1", "{uri}");
            assert_eq!(
                request.headers().get_all(HOST).iter().collect::<Vec<_>>(),
                [host],
                "{uri}"
            );
        }
    }

    #[test]
    fn http2_has_an_authority_and_no_host() {
        for (uri, sent, full) in [
            ("/a", &[][..], "http://reviews.shop/a"),
            ("/a", &[("host", "other.shop")], "http://other.shop/a"),
            ("/a", &[("host", "reviews.shop")], "http://reviews.shop/a"),
            (
                "https://x.shop:1/a",
                &[("host", "evil")],
                "http://x.shop:1/a",
            ),
        ] {
            let mut request = request(uri, sent);
            names().for_http2(&mut request);
            assert_eq!(request.uri(), full);
            assert!(!request.headers().contains_key(HOST));
        }
    }

    #[test]
    fn fields_of_one_connection_do_not_travel() {
        let mut hop = request(
            "/",
            &[
                ("connection", "close, X-Private"),
                ("x-private", "1"),
                ("keep-alive", "timeout=5"),
                ("te", "gzip"),
                ("upgrade", "h2c"),
                ("transfer-encoding", "chunked"),
                ("content-length", "5"),
                ("x-public", "1"),
            ],
        );
        names().for_http1(&mut hop);
        let left: Vec<_> = hop.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(left.len(), 2, "{left:?}");
        for name in ["host", "x-public"] {
            assert!(left.contains(&name), "{left:?}");
        }
        let mut upgrade = request("/", &[("connection", "Upgrade"), ("upgrade", "websocket")]);
        names().for_http1(&mut upgrade);
        assert_eq!(upgrade.headers()[CONNECTION], "upgrade");
        assert_eq!(upgrade.headers()[UPGRADE], "websocket");
    }
}
