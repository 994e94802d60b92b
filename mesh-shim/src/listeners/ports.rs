use std::fmt;
use std::net::SocketAddr;

use crate::ingress::IngressListen;

/// The addresses as they are, with port 0 replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    /// Those of each application, in the order of the configuration.
    pub applications: Vec<ApplicationPorts>,
    /// `/livez` and `/readyz`.
    pub health: SocketAddr,
    /// `/metrics`.
    pub metrics: SocketAddr,
}

/// The addresses of one application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationPorts {
    /// Its name, where there are several (`--app`).
    pub name: Option<String>,
    /// Mutual TLS of the mesh; none without a port of the application.
    pub inbound: Option<SocketAddr>,
    /// The forward proxy.
    pub outbound: Option<SocketAddr>,
    /// Explicit ports, in the order of the configuration.
    pub upstreams: Vec<SocketAddr>,
    /// Redirected connections.
    pub transparent: Option<SocketAddr>,
    /// The same over IPv6, where there is a loopback of it.
    pub transparent_v6: Option<SocketAddr>,
    /// TLS by its server name.
    pub sni: Option<SocketAddr>,
    /// For clients outside, in the order of the configuration.
    pub ingress: Vec<IngressListen>,
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for application in &self.applications {
            write!(f, "{application}")?;
        }
        if self.applications.iter().any(|one| one.name.is_some()) {
            f.write_str("[all] ")?;
        }
        write!(f, "health={} metrics={}", self.health, self.metrics)
    }
}

impl fmt::Display for ApplicationPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "[{name}] ")?;
        }
        if let Some(inbound) = self.inbound {
            write!(f, "inbound={inbound} ")?;
        }
        if let Some(outbound) = self.outbound {
            write!(f, "outbound={outbound} ")?;
        }
        for upstream in &self.upstreams {
            write!(f, "upstream={upstream} ")?;
        }
        if let Some(transparent) = self.transparent {
            write!(f, "transparent={transparent} ")?;
        }
        if let Some(transparent) = self.transparent_v6 {
            write!(f, "transparent6={transparent} ")?;
        }
        if let Some(sni) = self.sni {
            write!(f, "sni={sni} ")?;
        }
        for ingress in &self.ingress {
            let name = match ingress.tls {
                true => "ingress",
                false => "ingress-http",
            };
            write!(f, "{name}={} ", ingress.addr)?;
        }
        Ok(())
    }
}
