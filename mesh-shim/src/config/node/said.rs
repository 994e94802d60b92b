use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use clap::ValueEnum as _;
use mesh_core::name::ServiceName;
use mesh_core::policy::text::closest;

use crate::config::{AppProtocol, Upstream, parse_listen};
use crate::error::ShimError;

const EXAMPLE: &str = "write --app shop/web=9000,protocol=http,outbound=7150,upstream=reviews@9001";
const KEYS: [&str; 8] = [
    "protocol",
    "address",
    "inbound",
    "advertise",
    "outbound",
    "upstream",
    "identity",
    "forwarded",
];

/// One `--app`, as far as it says something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(super) service: String,
    pub(super) port: Option<u16>,
    pub(super) protocol: Option<AppProtocol>,
    pub(super) address: Option<IpAddr>,
    pub(super) inbound: Option<SocketAddr>,
    pub(super) advertise: Option<SocketAddr>,
    pub(super) outbound: Option<SocketAddr>,
    pub(super) upstreams: Vec<Upstream>,
    pub(super) identity: Option<String>,
    pub(super) forwarded: Option<bool>,
}

impl FromStr for Said {
    type Err = ShimError;

    fn from_str(text: &str) -> Result<Self, ShimError> {
        let bad = |what: &str| ShimError::configuration(format!("app `{text}`: {what}"), EXAMPLE);
        let mut parts = text.split(',').map(str::trim);
        let first = parts.next().unwrap_or_default();
        let (service, port) = match first.split_once('=') {
            Some((service, port)) => {
                let port = port.parse().ok().filter(|port| *port != 0);
                let port = port.ok_or_else(|| bad("after the service comes its port"))?;
                (service, Some(port))
            }
            None => (first, None),
        };
        ServiceName::parse(service, "default").map_err(|error| {
            bad(&format!(
                "`{service}` is not the name of a service: {error}"
            ))
        })?;
        let mut said = Self {
            service: service.to_owned(),
            port,
            ..Self::default()
        };
        let mut seen = Vec::new();
        for part in parts {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| bad(&format!("`{part}` is no key=value")))?;
            if seen.contains(&key) && key != "upstream" {
                return Err(bad(&format!("`{key}` is there twice")));
            }
            seen.push(key);
            said.set(key, value).map_err(|what| bad(&what))?;
        }
        if said.port.is_none() && (said.inbound.is_some() || said.advertise.is_some()) {
            return Err(bad("without a port of the application nothing is taken in"));
        }
        if said.port.is_none() && said.outbound.is_none() && said.upstreams.is_empty() {
            return Err(bad("nothing to do: no port, no outbound, no upstream"));
        }
        Ok(said)
    }
}

impl Said {
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "protocol" => self.protocol = Some(AppProtocol::from_str(value, false)?),
            "address" => {
                let addr = value.parse();
                self.address = Some(addr.map_err(|_| format!("`{value}` is not an IP address"))?);
            }
            "inbound" => self.inbound = Some(parse_listen(value)?),
            "advertise" => self.advertise = Some(parse_listen(value)?),
            "outbound" if value == "off" => {}
            "outbound" => self.outbound = Some(parse_listen(value)?),
            "upstream" => {
                let (service, addr) = value
                    .rsplit_once('@')
                    .ok_or_else(|| format!("upstream `{value}`: write reviews@9001"))?;
                let upstream = format!("{service}={addr}").parse();
                self.upstreams
                    .push(upstream.map_err(|_| format!("upstream `{value}`: write reviews@9001"))?);
            }
            "identity" => self.identity = Some(value.to_owned()),
            "forwarded" => {
                let is = value.parse();
                self.forwarded = Some(is.map_err(|_| format!("`{value}` is not true or false"))?);
            }
            _ => {
                let meant = closest(key, KEYS);
                let hint = meant.map_or(String::new(), |it| format!(", did you mean `{it}`?"));
                return Err(format!("unknown key `{key}`{hint}"));
            }
        }
        Ok(())
    }
}
