//! Requests from outside the mesh: clients that have no identity and are believed nothing.
//!
//! ```text
//! client -- TLS, a certificate by SNI --> [this server] == mutual TLS ==> the service that a route names
//!        -- TLS, a name that is passed through ----------- bytes ------> the service of that name
//! ```
//!
//! What arrives is a call to the service of this process, with its own Host: `HTTPRoute`s and
//! `GRPCRoute`s whose parent is that service decide. They are an allow-list: what none of them names
//! is answered with 404, a rule must name another service, and the names of the mesh mean nothing
//! here. `parentRefs.port` limits a route to the listener of that port.
//!
//! - The host of a request must be one that the connection's certificate is good for, else 421
//!   (RFC 9110 15.5.20): a client that shares one HTTP/2 connection among hosts then opens another.
//! - What is not let in is counted by reason and told of in the log, at a bounded rate: target
//!   `mesh::ingress`, with `reason`, `host`, `peer` and `status`.
//! - What only the mesh may say is taken out of requests, and what only the mesh is told out of
//!   answers. `Forwarded`, `X-Forwarded-*` and `Via` begin anew here. A trace is continued; whether
//!   it is recorded is decided here.
//! - The server's limits and the service's `TrafficPolicy` apply, shared by all ingress listeners of
//!   the process. There is no adaptive limit unless the policy sets one: the latency of many services
//!   says nothing of this process, and each of them has a limit of its own.
//! - `AccessPolicy` and `TransportPolicy.mtls` do not apply: they are about identities.
//!   `minTlsVersion` does.

mod admit;
mod entrance;
mod open;
mod refused;

use std::sync::Arc;

use mesh_core::error::{Code, ErrorKind, MeshError};
use mesh_core::name::ServiceTarget;
use mesh_core::policy::model::Hostname;

pub(crate) use self::admit::{Outside, host};
pub(super) use self::entrance::Entrance;
pub(super) use self::open::{Opening, Passed};
pub(super) use self::refused::Refused;

use crate::mesh::Mesh;
use crate::tcp::TcpClient;
use crate::telemetry::Tracing;
use crate::tls::Certificates;

/// How a server takes requests from outside the mesh; see
/// [`ServerBuilder::ingress`](super::ServerBuilder::ingress).
#[derive(Clone, Debug)]
#[must_use = "it is given to a server"]
pub struct Ingress {
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Plaintext,
    ToHttps(u16),
    Tls {
        certificates: Option<Certificates>,
        passed: Vec<(Hostname, Arc<str>)>,
    },
}

/// The part of a server's connections that is about outside.
pub(super) struct Edge {
    tls: Option<EdgeTls>,
    tracing: Tracing,
    refused: Arc<Refused>,
}

struct EdgeTls {
    certificates: Option<Certificates>,
    passed: Vec<(Hostname, TcpClient)>,
}

// === impl Ingress ===

impl Ingress {
    /// HTTP without TLS.
    pub fn plaintext() -> Self {
        Self {
            kind: Kind::Plaintext,
        }
    }

    /// HTTP without TLS, of which every request is sent to `https://` of the same host (308). `port`
    /// is the one that clients outside know; 443 is not written.
    pub fn to_https(port: u16) -> Self {
        Self {
            kind: Kind::ToHttps(port),
        }
    }

    /// TLS, of version 1.2 or newer as `minTlsVersion` says, with HTTP/2 and HTTP/1.1 inside. A
    /// client that asks for a name that there is no certificate for is refused in the handshake
    /// (`unrecognized_name`).
    pub fn tls(certificates: impl Into<Option<Certificates>>) -> Self {
        Self {
            kind: Kind::Tls {
                certificates: certificates.into(),
                passed: Vec::new(),
            },
        }
    }

    /// TLS for `host`, which is `www.example.com` or `*.example.com`, is not ended here but carried to
    /// the service `target`, such as `shop/web` or `web.shop:8443`. An exact name comes before any
    /// pattern, and certificates with an exact name before `*.`.
    ///
    /// # Errors
    ///
    /// M1003 if the host or the service is none, or this is not an ingress of TLS.
    pub fn pass_through(mut self, host: &str, target: &str) -> Result<Self, MeshError> {
        let bad = |what: String| {
            MeshError::new(ErrorKind::Internal, what).with_code(Code::BAD_CONFIGURATION)
        };
        let Kind::Tls { passed, .. } = &mut self.kind else {
            return Err(bad(format!("{host} cannot be passed on without TLS")));
        };
        let hostname = hostname(host).ok_or_else(|| {
            bad(format!(
                "`{host:.100}` is not a host such as www.example.com"
            ))
        })?;
        ServiceTarget::parse(target, "default")
            .map_err(|error| bad(format!("it is no service: {error}")))?;
        passed.push((hostname, target.into()));
        Ok(self)
    }

    pub(super) fn redirects(&self) -> Option<u16> {
        match self.kind {
            Kind::ToHttps(port) => Some(port),
            _ => None,
        }
    }

    pub(super) fn into_edge(self, mesh: &Mesh, refused: Arc<Refused>) -> Edge {
        let tls = match self.kind {
            Kind::Plaintext | Kind::ToHttps(_) => None,
            Kind::Tls {
                certificates,
                passed,
            } => {
                let client = |(host, target): (Hostname, Arc<str>)| {
                    let client = mesh.pass_through(&target);
                    (host, client)
                };
                Some(EdgeTls {
                    certificates,
                    passed: passed.into_iter().map(client).collect(),
                })
            }
        };
        Edge {
            tls,
            tracing: mesh.recorder().tracing().clone(),
            refused,
        }
    }
}

/// As SNI has names: labels of letters, digits, `-` and `_`.
fn hostname(text: &str) -> Option<Hostname> {
    let lower = text.to_ascii_lowercase();
    let (name, suffix) = match lower.strip_prefix("*.") {
        Some(rest) => (rest, true),
        None => (lower.as_str(), false),
    };
    let is_label = |label: &str| {
        let is = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        !label.is_empty() && label.len() < 64 && label.bytes().all(is)
    };
    if name.len() > 253 || !name.split('.').all(is_label) {
        return None;
    }
    Some(match suffix {
        true => Hostname::Suffix(format!(".{name}").into()),
        false => Hostname::Exact(name.into()),
    })
}

// === impl EdgeTls ===

impl EdgeTls {
    /// Whom a name's connections are carried to: the exact name, else the longest pattern.
    fn passed(&self, name: &str) -> Option<(&TcpClient, bool)> {
        let matching = self.passed.iter().filter(|(host, _)| host.is_match(name));
        let weight = |host: &Hostname| match host {
            Hostname::Exact(_) => usize::MAX,
            Hostname::Suffix(text) => text.len(),
        };
        let (host, client) = matching.max_by_key(|(host, _)| weight(host))?;
        Some((client, matches!(host, Hostname::Exact(_))))
    }
}
