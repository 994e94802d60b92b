use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::{ApplicationPorts, WorkerListeners};
use crate::config::Application;
use crate::error::ShimError;
use crate::proxy::{Share, bind};
use crate::takeover::{Shared, Taken};

/// Opens them, but for those that are taken over.
pub(super) struct Opening<'a> {
    pub(super) taken: &'a mut Taken,
    /// Copies for a successor; none unless there can be one.
    pub(super) keep: Option<Shared>,
    /// The application, where there are several.
    pub(super) of: Option<String>,
}

impl Opening<'_> {
    pub(super) fn one(
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
    pub(super) fn application(
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
            transparent_v6: None,
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
                transparent: maybe("transparent", &mut ports.transparent)?
                    .into_iter()
                    .collect(),
                sni: maybe("sni", &mut ports.sni)?,
                ingress: Vec::new(),
            };
            if worker == 0 {
                ports.transparent_v6 = ports.transparent.and_then(beside);
            }
            if let Some(addr) = &mut ports.transparent_v6 {
                let name = format!("transparent6 {owner}");
                let listener = self.one("transparent", &name, worker, addr, Share::Workers)?;
                listeners.transparent.push(listener);
            }
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

/// Where the firewall redirects IPv6 to, for a transparent listener on loopback of IPv4: the same port
/// of `::1`, if there is IPv6.
fn beside(transparent: SocketAddr) -> Option<SocketAddr> {
    let IpAddr::V4(ip) = transparent.ip() else {
        return None;
    };
    let local = ip.is_loopback() || ip.is_unspecified();
    let is_on = || match std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)) {
        Ok(_) => true,
        Err(error) => {
            tracing::info!("redirected connections are taken over IPv4 only: ::1: {error}");
            false
        }
    };
    (local && is_on()).then(|| SocketAddr::from((Ipv6Addr::LOCALHOST, transparent.port())))
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
