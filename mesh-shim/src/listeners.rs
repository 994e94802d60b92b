//! Every port of the shim, opened before anything else: a port in use is known at once.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::config::{Application, Config};
use crate::error::ShimError;
use crate::ingress::IngressListen;
use crate::proxy::{Share, bind};
use crate::takeover::{Shared, Taken};

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

/// Listeners that nobody has taken yet.
pub(crate) struct Listeners {
    keep: Shared,
    ports: Ports,
    health: Option<std::net::TcpListener>,
    metrics: Option<std::net::TcpListener>,
    /// By application, then by worker.
    applications: Vec<Vec<WorkerListeners>>,
}

/// Those of one application at one worker; the same ports for each.
pub(crate) struct WorkerListeners {
    pub(crate) inbound: Option<std::net::TcpListener>,
    pub(crate) outbound: Option<std::net::TcpListener>,
    pub(crate) upstreams: Vec<std::net::TcpListener>,
    pub(crate) transparent: Option<std::net::TcpListener>,
    pub(crate) sni: Option<std::net::TcpListener>,
    pub(crate) ingress: Vec<std::net::TcpListener>,
}

/// Opens them, but for those that are taken over.
struct Opening<'a> {
    taken: &'a mut Taken,
    /// Copies for a successor; none unless there can be one.
    keep: Option<Shared>,
    /// The application, where there are several.
    of: Option<String>,
}

impl Opening<'_> {
    fn one(
        &mut self,
        what: &'static str,
        name: &str,
        worker: usize,
        addr: &mut SocketAddr,
        share: Share,
    ) -> Result<std::net::TcpListener, ShimError> {
        let of = self.of.as_deref();
        let failed = |addr: SocketAddr, error| ShimError::port(what, of, addr, &error);
        let found = self.taken.listener(name, worker, *addr);
        let opened = match found.map_err(|error| failed(*addr, error))? {
            Some(listener) => known(listener),
            None => {
                if share == Share::Workers && worker == 0 && addr.port() != 0 {
                    // Another process's listener that shares too must not pass unnoticed.
                    open(*addr, Share::No).map_err(|error| failed(*addr, error))?;
                }
                open(*addr, share)
            }
        };
        let (listener, actual) = opened.map_err(|error| failed(*addr, error))?;
        // The first worker learns which port 0 became; the others open the same.
        *addr = actual;
        if let Some(keep) = &self.keep {
            keep.keep(name, worker, &listener).map_err(|error| {
                ShimError::plain(
                    format!("cannot copy the descriptor of {name}: {error}"),
                    "raise the limit on open files",
                )
            })?;
        }
        Ok(listener)
    }

    /// Those of one application, one set for each worker.
    fn application(
        &mut self,
        application: &Application,
        workers: usize,
    ) -> Result<(Vec<WorkerListeners>, ApplicationPorts), ShimError> {
        let owner = application.name();
        let mut ports = ApplicationPorts {
            name: self.of.clone(),
            inbound: application.app.map(|_| application.inbound),
            outbound: application.outbound,
            upstreams: application.upstreams.iter().map(|one| one.listen).collect(),
            transparent: application.transparent,
            sni: application.sni,
            ingress: application.ingress.listen.clone(),
        };
        let mut all = Vec::with_capacity(workers);
        for worker in 0..workers {
            let mut maybe = |what: &'static str, addr: &mut Option<SocketAddr>| {
                let addr = addr.as_mut();
                addr.map(|addr| {
                    self.one(
                        what,
                        &format!("{what} {owner}"),
                        worker,
                        addr,
                        Share::Workers,
                    )
                })
                .transpose()
            };
            let mut listeners = WorkerListeners {
                inbound: maybe("inbound", &mut ports.inbound)?,
                outbound: maybe("outbound", &mut ports.outbound)?,
                upstreams: Vec::new(),
                transparent: maybe("transparent", &mut ports.transparent)?,
                sni: maybe("sni", &mut ports.sni)?,
                ingress: Vec::new(),
            };
            for (n, port) in ports.ingress.iter_mut().enumerate() {
                let name = application.ingress.key(&owner, n);
                let addr = &mut port.addr;
                let listener = self.one("ingress", &name, worker, addr, Share::Workers)?;
                listeners.ingress.push(listener);
            }
            for (addr, upstream) in ports.upstreams.iter_mut().zip(&application.upstreams) {
                let name = format!("upstream {owner} {}", upstream.service);
                let listener = self.one("upstream", &name, worker, addr, Share::Workers)?;
                listeners.upstreams.push(listener);
            }
            all.push(listeners);
        }
        Ok((all, ports))
    }
}

impl Listeners {
    /// Opens them, but for those that are taken over.
    pub(crate) fn open(config: &Config, taken: &mut Taken) -> Result<Self, ShimError> {
        let keep = Shared::default();
        let mut opening = Opening {
            taken,
            keep: config.takeover.is_some().then(|| keep.clone()),
            of: None,
        };
        let mut ports = Ports {
            applications: Vec::new(),
            health: config.health,
            metrics: config.metrics,
        };
        let health = opening.one("health", "health", 0, &mut ports.health, Share::No)?;
        let metrics = opening.one("metrics", "metrics", 0, &mut ports.metrics, Share::No)?;
        let mut applications = Vec::new();
        for application in &config.applications {
            opening.of = config.node.then(|| application.name());
            let (listeners, its) = opening.application(application, config.workers.get())?;
            applications.push(listeners);
            ports.applications.push(its);
        }
        if let Some(workers) = taken.workers_left() {
            return Err(ShimError::configuration(
                format!(
                    "the shim that is taken over from has {workers} workers, and this one fewer: connections that wait at the others would be lost"
                ),
                format!("give --workers {workers}, or more"),
            ));
        }
        taken.forget_rest();
        Ok(Self {
            keep,
            ports,
            health: Some(health),
            metrics: Some(metrics),
            applications,
        })
    }

    pub(crate) fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Copies of all, for a successor; none unless it was asked for.
    pub(crate) fn kept(&self) -> Shared {
        self.keep.clone()
    }

    pub(crate) fn health(&mut self) -> Result<TcpListener, ShimError> {
        into_tokio(self.health.take())
    }

    pub(crate) fn metrics(&mut self) -> Result<TcpListener, ShimError> {
        into_tokio(self.metrics.take())
    }

    /// Copies of all that one application has, while nobody has taken them.
    pub(crate) fn copies(&self, index: usize) -> Vec<std::net::TcpListener> {
        let workers = self.applications.get(index).map(Vec::as_slice);
        let all = workers.unwrap_or_default().iter().flat_map(|one| {
            let single = [&one.inbound, &one.outbound, &one.transparent, &one.sni];
            single.into_iter().flatten().chain(&one.upstreams)
        });
        all.filter_map(|one| one.try_clone().ok()).collect()
    }

    /// Those of one application, one set for each worker.
    pub(crate) fn application(&mut self, index: usize) -> Vec<WorkerListeners> {
        let listeners = self.applications.get_mut(index);
        listeners.map(std::mem::take).unwrap_or_default()
    }
}

fn open(addr: SocketAddr, share: Share) -> io::Result<(std::net::TcpListener, SocketAddr)> {
    let listener = bind(addr, share)?;
    let actual = listener.local_addr()?;
    Ok((listener, actual))
}

/// One that was taken over, ready for the runtime.
fn known(listener: std::net::TcpListener) -> io::Result<(std::net::TcpListener, SocketAddr)> {
    listener.set_nonblocking(true)?;
    let actual = listener.local_addr()?;
    Ok((listener, actual))
}

fn into_tokio(listener: Option<std::net::TcpListener>) -> Result<TcpListener, ShimError> {
    let listener = listener.map(TcpListener::from_std).transpose();
    listener.ok().flatten().ok_or_else(|| {
        ShimError::plain(
            "a listener could not be handed to the runtime",
            "start it again",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{App, AppProtocol, DrainTimes, JoinOptions};
    use std::time::Duration;

    fn config(workers: usize) -> Config {
        let any = "127.0.0.1:0".parse().unwrap();
        Config {
            applications: vec![Application {
                service: "x".into(),
                app: Some(App {
                    addr: "127.0.0.1:1".parse().unwrap(),
                    protocol: AppProtocol::Http,
                    forwarded: false,
                    ready_within: Duration::from_secs(1),
                }),
                inbound: any,
                advertise: None,
                outbound: Some(any),
                upstreams: vec!["reviews=127.0.0.1:0".parse().unwrap()],
                transparent: None,
                sni: None,
                ingress: Default::default(),
                join: JoinOptions::default(),
            }],
            node: false,
            command: Vec::new(),
            mark: None,
            egress: crate::config::Egress::Report,
            health: any,
            metrics: any,
            workers: workers.try_into().unwrap(),
            drain: DrainTimes {
                unready: Duration::ZERO,
                in_flight: Duration::ZERO,
            },
            takeover: None,
        }
    }

    #[test]
    fn all_workers_share_the_ports() {
        let mut listeners = Listeners::open(&config(3), &mut Taken::default()).unwrap();
        let ports = listeners.ports().applications[0].clone();
        let workers = listeners.application(0);
        assert_eq!(workers.len(), 3);
        for worker in workers {
            let addr = worker.outbound.unwrap().local_addr().unwrap();
            assert_eq!(Some(addr), ports.outbound);
            let addr = worker.upstreams[0].local_addr().unwrap();
            assert_eq!(addr, ports.upstreams[0]);
        }
        assert!(listeners.application(0).is_empty() && listeners.application(1).is_empty());
    }

    #[test]
    fn a_port_in_use_names_its_flag() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut config = config(1);
        config.metrics = taken.local_addr().unwrap();
        let error = Listeners::open(&config, &mut Taken::default())
            .err()
            .unwrap();
        assert_eq!(error.code(), Some("M1004"));
        assert!(error.to_string().contains("--metrics"), "{error}");
    }

    #[test]
    fn two_shims_do_not_share_a_port_unnoticed() {
        let first = Listeners::open(&config(2), &mut Taken::default()).unwrap();
        let mut second = config(2);
        second.applications[0].outbound = first.ports().applications[0].outbound;
        assert_eq!(
            Listeners::open(&second, &mut Taken::default())
                .err()
                .unwrap()
                .code(),
            Some("M1004")
        );
    }
}
