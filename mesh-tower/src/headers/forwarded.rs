//! Who a request came from before it came here: `Forwarded` (RFC 7239), `X-Forwarded-*`, `Via`
//! (RFC 9110 7.6.3), and fields by which proxies say who a client has proved to be.
//!
//! | the peer | what it says of others | what it says of identities |
//! | --- | --- | --- |
//! | proved who it is (mutual TLS) | goes on | removed |
//! | anybody else | removed | removed |
//!
//! Identities are proved to us by certificates and said by nobody: an application that believes
//! `X-Forwarded-Client-Cert` must not get it from a client. A server that is told to
//! ([`ServerBuilder::forwarded`](crate::server::ServerBuilder::forwarded)) then adds what it knows itself.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, HOST, HeaderName, VIA};
use http::{HeaderMap, HeaderValue, Uri, Version};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What is known of the one who has sent a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sender {
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) tls: bool,
}

/// Takes out what the sender may not say.
pub(crate) fn scrub(headers: &mut HeaderMap, verified: bool) {
    let may_not = |name: &HeaderName| {
        let name = name.as_str();
        match name.as_bytes().first() {
            Some(b'x') => is_identity(name) || (!verified && is_other(name)),
            Some(b'f') => !verified && name == "forwarded",
            Some(b'c') => is_identity(name),
            _ => false,
        }
    };
    while let Some(name) = headers.keys().find(|name| may_not(name)).cloned() {
        headers.remove(name);
    }
}

fn is_identity(name: &str) -> bool {
    name == "x-forwarded-client-cert"
        || name == "client-cert"
        || name == "client-cert-chain"
        || name.starts_with("x-ssl-client-")
        || name.starts_with("x-client-cert")
}

fn is_other(name: &str) -> bool {
    name.starts_with("x-forwarded-") || name == "x-real-ip"
}

/// Adds this hop, after what the sender could not say was taken out.
pub(crate) fn append(headers: &mut HeaderMap, sender: Sender, uri: &Uri, version: Version) {
    let proto = if sender.tls { "https" } else { "http" };
    let host = match uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => headers.get(HOST).cloned(),
    };
    let mut hop = String::with_capacity(96);
    if let Some(remote) = sender.remote {
        let ip = remote.ip().to_canonical();
        // Writing to a String cannot fail.
        let _ = match ip {
            IpAddr::V4(ip) => write!(hop, "for={ip};"),
            IpAddr::V6(ip) => write!(hop, "for=\"[{ip}]\";"),
        };
        list(headers, &FOR, &ip.to_string());
    }
    if let Some(host) = host.as_ref().and_then(|host| host.to_str().ok()) {
        let _ = write!(hop, "host=\"{host}\";");
    }
    hop.push_str("proto=");
    hop.push_str(proto);
    list(headers, &FORWARDED, &hop);
    headers
        .entry(PROTO)
        .or_insert(HeaderValue::from_static(proto));
    if let Some(host) = host {
        headers.entry(X_HOST).or_insert(host);
    }
    list(
        headers,
        &VIA,
        match version {
            Version::HTTP_10 => "1.0 mesh",
            Version::HTTP_2 => "2 mesh",
            _ => "1.1 mesh",
        },
    );
}

/// Adds an element to a list, which becomes one field.
fn list(headers: &mut HeaderMap, name: &HeaderName, element: &str) {
    let mut whole = String::new();
    for value in headers.get_all(name) {
        if let Ok(text) = value.to_str() {
            whole.push_str(text);
            whole.push_str(", ");
        }
    }
    whole.push_str(element);
    if let Ok(value) = HeaderValue::from_str(&whole) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent() -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "app.shop:80"),
            ("forwarded", "for=9.9.9.9"),
            ("x-forwarded-for", "9.9.9.9"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "outside"),
            ("x-real-ip", "9.9.9.9"),
            ("x-forwarded-client-cert", "URI=spiffe://evil"),
            ("x-ssl-client-verify", "SUCCESS"),
            ("client-cert", ":AAAA:"),
            ("via", "1.1 edge"),
            ("x-kept", "1"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    fn sender(remote: &str, verified: bool) -> Sender {
        Sender {
            remote: Some(remote.parse().unwrap()),
            tls: verified,
        }
    }

    #[test]
    fn only_who_has_proved_itself_says_who_came_before() {
        let mut headers = sent();
        scrub(&mut headers, false);
        assert_eq!(names(&headers), ["host", "via", "x-kept"]);
        let mut headers = sent();
        scrub(&mut headers, true);
        let said = [
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-host",
            "x-real-ip",
        ];
        assert!(said.iter().all(|name| headers.contains_key(*name)));
        for name in [
            "x-forwarded-client-cert",
            "x-ssl-client-verify",
            "client-cert",
        ] {
            assert!(!headers.contains_key(name), "{name}");
        }
    }

    #[test]
    fn a_hop_is_added_to_what_is_believed() {
        let add = |remote, verified, version| {
            let mut headers = sent();
            scrub(&mut headers, verified);
            append(
                &mut headers,
                sender(remote, verified),
                &Uri::from_static("/x"),
                version,
            );
            headers
        };
        let stranger = add("192.0.2.7:4711", false, Version::HTTP_11);
        assert_eq!(
            stranger["forwarded"],
            "for=192.0.2.7;host=\"app.shop:80\";proto=http"
        );
        assert_eq!(stranger["x-forwarded-for"], "192.0.2.7");
        assert_eq!(stranger["x-forwarded-proto"], "http");
        assert_eq!(stranger["x-forwarded-host"], "app.shop:80");
        assert_eq!(stranger["via"], "1.1 edge, 1.1 mesh");
        let peer = add("[2001:db8::1]:4711", true, Version::HTTP_2);
        let expected = "for=9.9.9.9, for=\"[2001:db8::1]\";host=\"app.shop:80\";proto=https";
        assert_eq!(peer["forwarded"], expected);
        assert_eq!(peer["x-forwarded-for"], "9.9.9.9, 2001:db8::1");
        assert_eq!(peer["x-forwarded-host"], "outside");
        assert_eq!(peer["via"], "1.1 edge, 2 mesh");
    }
}
