//! Every port of the shim, opened before anything else: a port in use is known at once.

use std::fmt;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::config::Config;
use crate::error::ShimError;
use crate::proxy::{Share, bind};
use crate::takeover::{Shared, Taken};

/// The addresses as they are, with port 0 replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    /// Mutual TLS of the mesh; none without an application.
    pub inbound: Option<SocketAddr>,
    /// The forward proxy.
    pub outbound: Option<SocketAddr>,
    /// Explicit ports, in the order of the configuration.
    pub upstreams: Vec<SocketAddr>,
    /// Redirected connections.
    pub transparent: Option<SocketAddr>,
    /// TLS by its server name.
    pub sni: Option<SocketAddr>,
    /// `/livez` and `/readyz`.
    pub health: SocketAddr,
    /// `/metrics`.
    pub metrics: SocketAddr,
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
        write!(f, "health={} metrics={}", self.health, self.metrics)
    }
}

/// Listeners that nobody has taken yet.
pub(crate) struct Listeners {
    keep: Shared,
    ports: Ports,
    health: Option<std::net::TcpListener>,
    metrics: Option<std::net::TcpListener>,
    workers: Vec<Option<WorkerListeners>>,
}

/// Those of one worker; the same ports for each.
pub(crate) struct WorkerListeners {
    pub(crate) inbound: Option<std::net::TcpListener>,
    pub(crate) outbound: Option<std::net::TcpListener>,
    pub(crate) upstreams: Vec<std::net::TcpListener>,
    pub(crate) transparent: Option<std::net::TcpListener>,
    pub(crate) sni: Option<std::net::TcpListener>,
}

impl Listeners {
    /// Opens them, but for those that are taken over.
    pub(crate) fn open(config: &Config, taken: &mut Taken) -> Result<Self, ShimError> {
        let one = |taken: &mut Taken, what: &'static str, addr| match taken.listener(what, 0, addr)
        {
            Ok(Some(listener)) => known(what, addr, listener),
            Ok(None) => open(what, addr, Share::No),
            Err(error) => Err(ShimError::port(what, addr, &error)),
        };
        let (health, health_addr) = one(taken, "health", config.health)?;
        let (metrics, metrics_addr) = one(taken, "metrics", config.metrics)?;
        let keep = Shared::default();
        let kept = |name: &str, worker, listener: &std::net::TcpListener| {
            if config.takeover.is_none() {
                return Ok(());
            }
            keep.keep(name, worker, listener).map_err(|error| {
                ShimError::plain(
                    format!("cannot copy the descriptor of {name}: {error}"),
                    "raise the limit on open files",
                )
            })
        };
        kept("health", 0, &health)?;
        kept("metrics", 0, &metrics)?;
        let mut ports = Ports {
            inbound: config.app.map(|_| config.inbound),
            outbound: config.outbound,
            upstreams: config
                .upstreams
                .iter()
                .map(|upstream| upstream.listen)
                .collect(),
            transparent: config.transparent,
            sni: config.sni,
            health: health_addr,
            metrics: metrics_addr,
        };
        let workers = (0..config.workers.get())
            .map(|index| {
                // The first worker learns which port 0 became; the others open the same.
                let mut one = |what, name: &str, addr: &mut SocketAddr| {
                    let found = taken.listener(name, index, *addr);
                    if let Some(listener) =
                        found.map_err(|error| ShimError::port(what, *addr, &error))?
                    {
                        let (listener, actual) = known(what, *addr, listener)?;
                        kept(name, index, &listener)?;
                        *addr = actual;
                        return Ok(listener);
                    }
                    if index == 0 && addr.port() != 0 {
                        // Another process's listener that shares too must not pass unnoticed.
                        open(what, *addr, Share::No)?;
                    }
                    let (listener, actual) = open(what, *addr, Share::Workers)?;
                    kept(name, index, &listener)?;
                    *addr = actual;
                    Ok::<_, ShimError>(listener)
                };
                Ok(Some(WorkerListeners {
                    inbound: ports
                        .inbound
                        .as_mut()
                        .map(|a| one("inbound", "inbound", a))
                        .transpose()?,
                    outbound: ports
                        .outbound
                        .as_mut()
                        .map(|a| one("outbound", "outbound", a))
                        .transpose()?,
                    transparent: ports
                        .transparent
                        .as_mut()
                        .map(|a| one("transparent", "transparent", a))
                        .transpose()?,
                    sni: ports
                        .sni
                        .as_mut()
                        .map(|a| one("sni", "sni", a))
                        .transpose()?,
                    upstreams: ports
                        .upstreams
                        .iter_mut()
                        .zip(&config.upstreams)
                        .map(|(addr, upstream)| {
                            one("upstream", &format!("upstream {}", upstream.service), addr)
                        })
                        .collect::<Result<_, _>>()?,
                }))
            })
            .collect::<Result<_, ShimError>>()?;
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
            workers,
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

    pub(crate) fn worker(&mut self, index: usize) -> Option<WorkerListeners> {
        self.workers.get_mut(index)?.take()
    }
}

fn open(
    what: &'static str,
    addr: SocketAddr,
    share: Share,
) -> Result<(std::net::TcpListener, SocketAddr), ShimError> {
    let opened = bind(addr, share).and_then(|listener| {
        let actual = listener.local_addr()?;
        Ok((listener, actual))
    });
    opened.map_err(|error| ShimError::port(what, addr, &error))
}

/// One that was taken over, ready for the runtime.
fn known(
    what: &'static str,
    addr: SocketAddr,
    listener: std::net::TcpListener,
) -> Result<(std::net::TcpListener, SocketAddr), ShimError> {
    listener
        .set_nonblocking(true)
        .and_then(|()| listener.local_addr())
        .map(|actual| (listener, actual))
        .map_err(|error| ShimError::port(what, addr, &error))
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
            service: "x".into(),
            app: Some(App {
                addr: "127.0.0.1:1".parse().unwrap(),
                protocol: AppProtocol::Http,
                forwarded: false,
                ready_within: Duration::from_secs(1),
            }),
            command: Vec::new(),
            inbound: any,
            advertise: None,
            outbound: Some(any),
            upstreams: vec!["reviews=127.0.0.1:0".parse().unwrap()],
            transparent: None,
            sni: None,
            mark: None,
            egress: crate::config::Egress::Report,
            health: any,
            metrics: any,
            workers: workers.try_into().unwrap(),
            drain: DrainTimes {
                unready: Duration::ZERO,
                in_flight: Duration::ZERO,
            },
            join: JoinOptions::default(),
            takeover: None,
        }
    }

    #[test]
    fn all_workers_share_the_ports() {
        let mut listeners = Listeners::open(&config(3), &mut Taken::default()).unwrap();
        let ports = listeners.ports().clone();
        for index in 0..3 {
            let worker = listeners.worker(index).unwrap();
            let addr = worker.outbound.unwrap().local_addr().unwrap();
            assert_eq!(Some(addr), ports.outbound);
            assert_eq!(
                worker.upstreams[0].local_addr().unwrap(),
                ports.upstreams[0]
            );
        }
        assert!(listeners.worker(0).is_none() && listeners.worker(3).is_none());
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
        second.outbound = first.ports().outbound;
        assert_eq!(
            Listeners::open(&second, &mut Taken::default())
                .err()
                .unwrap()
                .code(),
            Some("M1004")
        );
    }
}
