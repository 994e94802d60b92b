//! Every port of the shim, opened before anything else: a port in use is known at once.

mod open;
mod ports;
#[cfg(test)]
mod tests;

use tokio::net::TcpListener;

use self::open::Opening;
pub use self::ports::{ApplicationPorts, Ports};
use crate::config::Config;
use crate::error::ShimError;
use crate::proxy::Share;
use crate::takeover::{Shared, Taken};

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
    /// As asked for, and on loopback of the other family.
    pub(crate) transparent: Vec<std::net::TcpListener>,
    pub(crate) sni: Option<std::net::TcpListener>,
    pub(crate) ingress: Vec<std::net::TcpListener>,
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
            let single = [&one.inbound, &one.outbound, &one.sni];
            let several = one.transparent.iter().chain(&one.upstreams);
            single.into_iter().flatten().chain(several)
        });
        all.filter_map(|one| one.try_clone().ok()).collect()
    }

    /// Those of one application, one set for each worker.
    pub(crate) fn application(&mut self, index: usize) -> Vec<WorkerListeners> {
        let listeners = self.applications.get_mut(index);
        listeners.map(std::mem::take).unwrap_or_default()
    }
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
