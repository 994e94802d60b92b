use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use mesh_core::name::ServiceName;

use super::Said;
use crate::config::{App, AppProtocol, Application, JoinOptions};
use crate::error::ShimError;

/// All interfaces, and any free port: others learn from the registry which one it became.
pub(super) const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// What holds for all applications that say nothing else.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) address: IpAddr,
    pub(crate) protocol: AppProtocol,
    pub(crate) forwarded: bool,
    pub(crate) ready_within: Duration,
    pub(crate) join: JoinOptions,
}

impl Given {
    /// All applications, each with what it says and what holds for all.
    ///
    /// # Errors
    ///
    /// When two of them cannot be told apart: one name, one port, one identity, one state.
    pub(crate) fn applications(&self, all: Vec<Said>) -> Result<Vec<Application>, ShimError> {
        let all: Vec<_> = all.into_iter().map(|said| self.resolve(said)).collect();
        let mut seen = BTreeMap::new();
        for one in &all {
            let name = one.name();
            let mut is_own = |what: &str, value: String| {
                let other = seen.insert((what.to_owned(), value.clone()), name.clone());
                other.map_or(Ok(()), |other| Err(shared(what, &value, &other, &name)))
            };
            is_own("name", name.clone())?;
            let ports = [Some(one.inbound), one.outbound].into_iter().flatten();
            let upstreams = one.upstreams.iter().map(|upstream| upstream.listen);
            for addr in ports.chain(upstreams).filter(|addr| addr.port() != 0) {
                is_own("address", addr.to_string())?;
            }
            if let Some(identity) = &one.join.identity {
                // A token lets any service in; a certificate is one service's.
                if identity.starts_with("dir:") {
                    is_own("identity", identity.clone())?;
                }
            }
            if let Some(state) = &one.join.state {
                is_own("state", state.clone())?;
            }
        }
        Ok(all)
    }

    fn resolve(&self, said: Said) -> Application {
        let mut join = self.join.clone();
        if said.identity.is_some() {
            join.identity = said.identity;
        }
        Application {
            app: said.port.map(|port| App {
                addr: SocketAddr::new(said.address.unwrap_or(self.address), port),
                protocol: said.protocol.unwrap_or(self.protocol),
                forwarded: said.forwarded.unwrap_or(self.forwarded),
                ready_within: self.ready_within,
            }),
            inbound: said.inbound.unwrap_or(ANY),
            advertise: said.advertise,
            outbound: said.outbound,
            upstreams: said.upstreams,
            transparent: None,
            sni: None,
            ingress: Default::default(),
            join: join.of(&said.service),
            service: said.service,
        }
    }
}

impl JoinOptions {
    /// With the names of a service in place of `{service}`, `{namespace}` and `{name}`.
    pub(crate) fn of(mut self, service: &str) -> Self {
        let Ok(name) = ServiceName::parse(service, "default") else {
            return self;
        };
        for text in [&mut self.identity, &mut self.state].into_iter().flatten() {
            *text = text
                .replace("{service}", &name.to_string())
                .replace("{namespace}", name.namespace())
                .replace("{name}", name.name());
        }
        self
    }
}

fn shared(what: &str, value: &str, one: &str, other: &str) -> ShimError {
    let next = match what {
        "name" => "give each application once, with all that it has",
        "address" => "give one of them another port; port 0 takes any free one",
        _ => "write {name}, {namespace} or {service} into the path, or `identity=` into each --app",
    };
    ShimError::configuration(
        format!("{one} and {other} have the same {what}: {value}"),
        next,
    )
}
