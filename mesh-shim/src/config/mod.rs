//! The shim's configuration, checked: what the rest of the crate works from.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use mesh_core::name::ServiceName;

use crate::error::ShimError;
use crate::ingress::IngressConfig;

mod node;

pub(crate) use self::node::{Given, Said};

/// Plaintext requests of the application enter the mesh here (forward proxy).
pub const OUTBOUND: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7140);
/// Mutual-TLS requests of the mesh arrive here; all interfaces, since others must reach it.
pub const INBOUND: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 7143);
/// `/livez` and `/readyz`.
pub const HEALTH: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7190);
/// `/metrics`.
pub const METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7191);

/// Everything the shim needs to know, with every value in range.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whom this process speaks for: one, or with `--app` any number.
    pub applications: Vec<Application>,
    /// Whether they were named by `--app`: one that is down or refused is then waited for, and
    /// stops nobody.
    pub node: bool,
    /// The command to run, first its program; empty in proxy mode.
    pub command: Vec<OsString>,
    /// Marks the shim's own connections (`SO_MARK`).
    pub mark: Option<u32>,
    /// What becomes of hosts that the policy does not know.
    pub egress: Egress,
    /// `/livez` and `/readyz`.
    pub health: SocketAddr,
    /// `/metrics`.
    pub metrics: SocketAddr,
    /// Worker threads, each with a runtime and pools of its own.
    pub workers: NonZeroUsize,
    /// The steps of a stop.
    pub drain: DrainTimes,
    /// The Unix socket by which a next version takes over; none if it cannot.
    pub takeover: Option<PathBuf>,
}

/// One application with its place in the mesh: its own identity and its own ports.
#[derive(Debug, Clone)]
pub struct Application {
    /// The service that it is, for instance `legacy-stock` or `shop/legacy-stock`.
    pub service: String,
    /// What is behind the inbound listener; none for one that only calls others.
    pub app: Option<App>,
    /// Where the mesh reaches it through this shim.
    pub inbound: SocketAddr,
    /// The address that others are told, where it differs from the one listened on.
    pub advertise: Option<SocketAddr>,
    /// Its forward proxy; none when it is switched off.
    pub outbound: Option<SocketAddr>,
    /// Explicit local ports, one service each.
    pub upstreams: Vec<Upstream>,
    /// Connections that the firewall redirects here; none when nothing is redirected.
    pub transparent: Option<SocketAddr>,
    /// TLS that is passed on by its server name; none without such a listener.
    pub sni: Option<SocketAddr>,
    /// What it takes in from outside the mesh.
    pub ingress: IngressConfig,
    /// How it joins the mesh.
    pub join: JoinOptions,
}

impl Application {
    /// Its name where there are several: `shop/legacy-stock`, `default/legacy-stock`.
    pub(crate) fn name(&self) -> String {
        let parsed = ServiceName::parse(&self.service, "default");
        parsed.map_or_else(|_| self.service.clone(), |name| name.to_string())
    }
}

/// Where an application listens, and what it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct App {
    /// Where it listens in plaintext.
    pub addr: SocketAddr,
    /// What it speaks there.
    pub protocol: AppProtocol,
    /// Whether it is told who asked: `Forwarded`, `X-Forwarded-*`, `Via`.
    pub forwarded: bool,
    /// How long it may take until its port accepts a connection.
    pub ready_within: Duration,
}

/// What an application speaks on its plaintext port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum AppProtocol {
    /// HTTP/1.1 (an HTTP/1.0 application works too).
    #[default]
    Http,
    /// HTTP/2 with prior knowledge, no TLS.
    H2c,
    /// gRPC: HTTP/2 with prior knowledge, and errors of the mesh as gRPC statuses.
    Grpc,
    /// Bytes: whatever it is, it is carried.
    Tcp,
}

/// What becomes of a host that the policy does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Egress {
    /// CONNECT to it is let out; it is counted and told of by its name.
    #[default]
    Report,
    /// It is refused (M4007).
    Deny,
}

/// One `--upstream NAME=ADDR`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The service that every request on this port goes to.
    pub service: String,
    /// The local listener.
    pub listen: SocketAddr,
    /// Of bytes, whatever the policy says of the port (`tcp://`).
    pub tcp: bool,
}

impl FromStr for Upstream {
    type Err = ShimError;

    fn from_str(text: &str) -> Result<Self, ShimError> {
        let bad = |what: &str| {
            ShimError::configuration(
                format!("upstream `{text}`: {what}"),
                "write --upstream reviews=127.0.0.1:9001",
            )
        };
        let (tcp, rest) = match text.strip_prefix("tcp://") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (service, listen) = rest.split_once('=').ok_or_else(|| bad("`=` is missing"))?;
        if service.is_empty() {
            return Err(bad("the name of the service is missing"));
        }
        let listen = parse_listen(listen).map_err(|_| bad("not an address with a port"))?;
        Ok(Self {
            service: service.to_owned(),
            listen,
            tcp,
        })
    }
}

/// `127.0.0.1:9001`, or a bare port on loopback.
pub(crate) fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    text.parse()
        .map_err(|_| format!("`{text}` is not an address with a port, like 127.0.0.1:9001"))
}

/// `500ms`, `5s`, `1m`: a whole number and its unit, as in policies. A bare number is refused.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number
        .parse()
        .map_err(|_| format!("`{text}` is not a duration like 5s"))?;
    let millis = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "" => return Err(format!("`{text}` has no unit: write {text}s or {text}ms")),
        _ => return Err(format!("`{text}`: the unit is one of ms, s, m")),
    };
    millis
        .filter(|ms| *ms <= 3_600_000)
        .map(Duration::from_millis)
        .ok_or_else(|| format!("`{text}` is longer than an hour"))
}

/// The steps of a stop: unready, a pause, then requests in flight may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainTimes {
    /// From "unready" until new connections are refused: others learn meanwhile that this
    /// instance is leaving. 5 s by default, as a 30 s grace allows.
    pub unready: Duration,
    /// How long requests in flight may take after that. 25 s by default.
    pub in_flight: Duration,
}

/// How the mesh is joined; what is not given comes from the environment (`MESH_*`). `{service}`,
/// `{namespace}` and `{name}` in `identity` and `state` are the application's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JoinOptions {
    /// The control server, `https://host:7443`.
    pub control: Option<String>,
    /// Where the identity comes from: `token:PATH`, `dir:PATH`.
    pub identity: Option<String>,
    /// A policy file to start from.
    pub policy: Option<String>,
    /// A directory for the last good snapshot and identity.
    pub state: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_names_a_service_and_a_local_port() {
        let upstream: Upstream = "reviews.shop:8080=127.0.0.1:9001".parse().unwrap();
        assert_eq!(upstream.service, "reviews.shop:8080");
        assert_eq!(upstream.listen, "127.0.0.1:9001".parse().unwrap());
        let upstream: Upstream = "tcp://redis:6379=127.0.0.1:6379".parse().unwrap();
        assert_eq!(
            (upstream.service.as_str(), upstream.tcp),
            ("redis:6379", true)
        );
        let upstream: Upstream = "reviews=9001".parse().unwrap();
        assert!(!upstream.tcp);
        assert_eq!(upstream.listen, "127.0.0.1:9001".parse().unwrap());
    }

    #[test]
    fn a_bad_upstream_is_refused_with_an_example() {
        for text in [
            "reviews",
            "=127.0.0.1:1",
            "reviews=",
            "reviews=localhost:9",
            "r=99999",
        ] {
            let error = text.parse::<Upstream>().unwrap_err();
            assert_eq!(error.code(), Some("M1003"), "{text}");
            assert!(
                error.to_string().contains("reviews=127.0.0.1:9001"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_duration_needs_its_unit() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(parse_duration("1m"), Ok(Duration::from_secs(60)));
        for text in [
            "5",
            "",
            "s",
            "5 s",
            "5h",
            "-1s",
            "61m",
            "99999999999999999999s",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
