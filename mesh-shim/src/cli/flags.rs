//! The settings: names, forms, defaults.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::config::{
    AppProtocol, Egress, HEALTH, INBOUND, METRICS, OUTBOUND, Said, Upstream, parse_duration,
    parse_listen,
};
use crate::ingress::{HttpsRedirect, IngressListen, Passthrough};
use crate::logging::LogFormat;

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// A YAML file with settings: each flag's name without the dashes. A flag is above its variable
    /// (MESH_SHIM_ and its name), which is above the file
    #[arg(long, value_name = "PATH", env = "MESH_SHIM_CONFIG", hide_env = true)]
    pub(super) config: Option<PathBuf>,

    /// Print what is in force and where each value comes from, and end
    #[arg(long)]
    pub(super) check: bool,

    /// How log lines look
    #[arg(long, value_enum, default_value_t)]
    pub(super) log: LogFormat,

    /// The service that the application is, like legacy-stock or shop/legacy-stock [env: MESH_SERVICE]
    #[arg(long = "as", value_name = "SERVICE")]
    pub(super) service: Option<String>,

    /// One of several applications of this machine, instead of --as and --port; may be repeated. Keys:
    /// protocol, address, inbound, advertise, outbound, upstream=[tcp://]SERVICE@ADDR (repeated),
    /// identity, forwarded. Several in the variable are separated by `;`
    #[arg(
        long = "app",
        value_name = "SERVICE[=PORT][,KEY=VALUE...]",
        value_delimiter = ';'
    )]
    pub(super) apps: Vec<Said>,

    /// The application's own port, plaintext; without it nothing is taken in
    #[arg(long, value_name = "PORT")]
    pub(super) port: Option<u16>,

    /// The address that the application listens on
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub(super) app_address: std::net::IpAddr,

    /// What the application speaks
    #[arg(long, value_enum, default_value_t)]
    pub(super) app_protocol: AppProtocol,

    /// Tell the application who asked: Forwarded, X-Forwarded-For, -Proto, -Host and Via
    #[arg(
        long,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = false,
        default_missing_value = "true",
        value_name = "BOOL"
    )]
    pub(super) forwarded: bool,

    /// How long the application may take until its port accepts
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    pub(super) app_ready: Duration,

    /// Mutual-TLS listener of the mesh
    #[arg(long, value_name = "ADDR", default_value_t = INBOUND, value_parser = parse_listen)]
    pub(super) inbound: SocketAddr,

    /// The address that others are told, when it is not the one listened on
    #[arg(long, value_name = "ADDR", value_parser = parse_listen)]
    pub(super) advertise: Option<SocketAddr>,

    /// Forward proxy for the application, or `off`
    #[arg(long, value_name = "ADDR", default_value_t = Outbound(Some(OUTBOUND)))]
    pub(super) outbound: Outbound,

    /// Hosts that the policy does not know, asked for at the forward proxy
    #[arg(long, value_enum, default_value_t)]
    pub(super) egress: Egress,

    /// A local port that is one service: requests, or bytes if the policy says `appProtocol: tcp` of
    /// it or the name begins with tcp://; may be repeated
    #[arg(
        long = "upstream",
        value_name = "[tcp://]SERVICE=ADDR",
        value_delimiter = ','
    )]
    pub(super) upstreams: Vec<Upstream>,

    /// Listener for connections that `mesh-shim init` redirects, such as 127.0.0.1:7141
    #[arg(long, value_name = "ADDR", value_parser = parse_listen)]
    pub(super) transparent: Option<SocketAddr>,

    /// Listener for TLS that is passed on untouched, to the service that its SNI names
    #[arg(long, value_name = "ADDR", value_parser = parse_listen)]
    pub(super) sni: Option<SocketAddr>,

    /// Listener for clients outside the mesh, with TLS unless it begins with http://; the routes of the
    /// policy that have the service of --as for a parent decide by host; may be repeated
    #[arg(long, value_name = "[http://]ADDR", value_delimiter = ',')]
    pub(super) ingress: Vec<IngressListen>,

    /// Directory of NAME.crt with NAME.key (or NAME/tls.crt with NAME/tls.key) for --ingress; changes are
    /// taken over while it runs, and `default` is for clients that ask for no name
    #[arg(long, value_name = "DIR")]
    pub(super) certificates: Option<PathBuf>,

    /// Answer requests of http:// listeners with https:// of the same host, 308 (at another port than 443:
    /// --https-redirect=8443)
    #[arg(
        long,
        value_name = "PORT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "443",
        default_value_t = HttpsRedirect(None)
    )]
    pub(super) https_redirect: HttpsRedirect,

    /// TLS for this host (*.example.com for all below it) is not ended at --ingress but carried to the
    /// service; may be repeated
    #[arg(
        long = "passthrough",
        value_name = "HOST=SERVICE[:PORT]",
        value_delimiter = ','
    )]
    pub(super) passthrough: Vec<Passthrough>,

    /// Mark the shim's own connections (SO_MARK, needs CAP_NET_ADMIN), as `init --mark` leaves alone
    #[arg(long, value_name = "N")]
    pub(super) mark: Option<u32>,

    /// /livez and /readyz
    #[arg(long, value_name = "ADDR", default_value_t = HEALTH, value_parser = parse_listen)]
    pub(super) health: SocketAddr,

    /// /metrics
    #[arg(long, value_name = "ADDR", default_value_t = METRICS, value_parser = parse_listen)]
    pub(super) metrics: SocketAddr,

    /// Worker threads, each with its own runtime and connections
    #[arg(long, value_name = "N", default_value = "1")]
    pub(super) workers: NonZeroUsize,

    /// On a stop: time from unready until new connections are refused
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    pub(super) drain_unready: Duration,

    /// On a stop: time for requests in flight after that
    #[arg(long, value_name = "TIME", default_value = "25s", value_parser = parse_duration)]
    pub(super) drain_in_flight: Duration,

    /// Take the listeners over from the shim that runs with the same PATH, if there is one, and hand
    /// them to the next that starts with it; a Unix socket
    #[arg(long, value_name = "PATH")]
    pub(super) takeover: Option<PathBuf>,

    /// The control server, https://host:7443 [env: MESH_CONTROL]
    #[arg(long, value_name = "URL")]
    pub(super) control: Option<String>,

    /// Where the identity comes from: token:PATH or dir:PATH; {service}, {namespace} and {name} are the
    /// application's [env: MESH_IDENTITY]
    #[arg(long, value_name = "SOURCE")]
    pub(super) identity: Option<String>,

    /// A policy file; with it no control server is needed [env: MESH_POLICY]
    #[arg(long, value_name = "PATH")]
    pub(super) policy: Option<String>,

    /// Directory for the last good snapshot and identity; {service}, {namespace} and {name} are the
    /// application's [env: MESH_STATE]
    #[arg(long, value_name = "DIR")]
    pub(super) state: Option<String>,
}

/// An address, or nothing for `off`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outbound(pub(super) Option<SocketAddr>);

impl std::fmt::Display for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(addr) => addr.fmt(f),
            None => f.write_str("off"),
        }
    }
}

impl std::str::FromStr for Outbound {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // YAML reads `off` as a boolean.
        if text == "off" || text == "false" {
            Ok(Self(None))
        } else {
            parse_listen(text).map(|addr| Self(Some(addr)))
        }
    }
}
