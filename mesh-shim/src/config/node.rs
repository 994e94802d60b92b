//! `--app SERVICE=PORT,key=value...`: several applications of one machine, each a service of its own.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum as _;
use mesh_core::name::ServiceName;
use mesh_core::policy::text::closest;

use super::{App, AppProtocol, Application, JoinOptions, Upstream, parse_listen};
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
/// All interfaces, and any free port: others learn from the registry which one it became.
const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// One `--app`, as far as it says something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Said {
    service: String,
    port: Option<u16>,
    protocol: Option<AppProtocol>,
    address: Option<IpAddr>,
    inbound: Option<SocketAddr>,
    advertise: Option<SocketAddr>,
    outbound: Option<SocketAddr>,
    upstreams: Vec<Upstream>,
    identity: Option<String>,
    forwarded: Option<bool>,
}

/// What holds for all applications that say nothing else.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) address: IpAddr,
    pub(crate) protocol: AppProtocol,
    pub(crate) forwarded: bool,
    pub(crate) ready_within: Duration,
    pub(crate) join: JoinOptions,
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

    fn resolve(self, given: &Given) -> Application {
        let mut join = given.join.clone();
        if self.identity.is_some() {
            join.identity = self.identity;
        }
        Application {
            app: self.port.map(|port| App {
                addr: SocketAddr::new(self.address.unwrap_or(given.address), port),
                protocol: self.protocol.unwrap_or(given.protocol),
                forwarded: self.forwarded.unwrap_or(given.forwarded),
                ready_within: given.ready_within,
            }),
            inbound: self.inbound.unwrap_or(ANY),
            advertise: self.advertise,
            outbound: self.outbound,
            upstreams: self.upstreams,
            transparent: None,
            sni: None,
            ingress: Default::default(),
            join: join.of(&self.service),
            service: self.service,
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

impl Given {
    /// All applications, each with what it says and what holds for all.
    ///
    /// # Errors
    ///
    /// When two of them cannot be told apart: one name, one port, one identity, one state.
    pub(crate) fn applications(&self, all: Vec<Said>) -> Result<Vec<Application>, ShimError> {
        let all: Vec<_> = all.into_iter().map(|said| said.resolve(self)).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn given() -> Given {
        Given {
            address: Ipv4Addr::LOCALHOST.into(),
            protocol: AppProtocol::Http,
            forwarded: false,
            ready_within: Duration::from_secs(60),
            join: JoinOptions::default(),
        }
    }

    fn all(texts: &[&str], given: &Given) -> Result<Vec<Application>, ShimError> {
        let said = texts.iter().map(|text| text.parse());
        given.applications(said.collect::<Result<_, _>>()?)
    }

    #[test]
    fn an_application_says_what_it_is_and_the_rest_holds_for_all() {
        let apps = all(
            &[
                "shop/web=9000,outbound=7150,upstream=reviews.shop@9001,upstream=tcp://redis:6379@6379",
                "redis=6380,protocol=tcp,address=::1,inbound=0.0.0.0:7143,advertise=10.0.0.7:7143,forwarded=true",
                "batch,outbound=127.0.0.1:7151",
            ],
            &given(),
        );
        let [web, redis, batch] = <[_; 3]>::try_from(apps.unwrap()).unwrap();
        assert_eq!(web.name(), "shop/web");
        assert_eq!((web.inbound, web.outbound.unwrap().port()), (ANY, 7150));
        assert_eq!(web.upstreams[0].service, "reviews.shop");
        assert!(web.upstreams[1].tcp && !web.app.unwrap().forwarded);
        let app = redis.app.unwrap();
        assert_eq!(
            (app.addr.to_string().as_str(), app.protocol),
            ("[::1]:6380", AppProtocol::Tcp)
        );
        assert_eq!(redis.name(), "default/redis");
        assert!(app.forwarded && redis.outbound.is_none());
        assert!(batch.app.is_none());
    }

    #[test]
    fn a_mistake_is_named_with_an_example() {
        for (text, what) in [
            ("", "not the name of a service"),
            ("web", "nothing to do"),
            ("web=", "its port"),
            ("web=0", "its port"),
            ("web=9000,prtocol=tcp", "did you mean `protocol`?"),
            ("web=9000,protocol=http3", "http3"),
            ("web=9000,tcp", "no key=value"),
            ("web=9000,inbound=7143,inbound=7144", "twice"),
            ("web=9000,upstream=reviews", "reviews@9001"),
            ("web,inbound=7143,outbound=7150", "nothing is taken in"),
        ] {
            let error = text.parse::<Said>().unwrap_err();
            assert_eq!(error.code(), Some("M1003"), "{text}");
            assert!(error.to_string().contains(what), "{error}");
            assert!(error.to_string().contains("next: write --app"), "{error}");
        }
    }

    #[test]
    fn two_applications_share_no_name_no_port_and_no_identity() {
        let with = |identity: &str, state: &str| {
            let mut given = given();
            given.join.identity = Some(identity.to_owned());
            given.join.state = Some(state.to_owned());
            given
        };
        let token = with("token:/etc/mesh/token", "/var/lib/mesh/{service}");
        for (texts, given, what) in [
            (["web=1", "default/web=2"], &token, "same name: default/web"),
            (
                ["a=1,inbound=7143", "b=2,outbound=127.0.0.1:7143"],
                &token,
                "same address",
            ),
            (
                ["a=1", "b=2"],
                &with("token:/t", "/var/lib/mesh"),
                "same state: /var/lib/mesh",
            ),
            (
                ["a=1", "b=2"],
                &with("dir:/etc/id", "/s/{name}"),
                "same identity: dir:/etc/id",
            ),
            (
                ["x/a=1", "y/a=2"],
                &with("token:/t", "/s/{name}"),
                "same state: /s/a",
            ),
        ] {
            let error = all(&texts, given).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
        let apps = all(&["x/a=1", "y/a=2,identity=dir:/own/{name}"], &token).unwrap();
        assert_eq!(
            apps[0].join.identity.as_deref(),
            Some("token:/etc/mesh/token")
        );
        assert_eq!(apps[1].join.identity.as_deref(), Some("dir:/own/a"));
        assert_eq!(apps[1].join.state.as_deref(), Some("/var/lib/mesh/y/a"));
    }
}
