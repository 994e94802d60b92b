use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use mesh_core::balance::EndpointInfo;
use mesh_core::error::{ErrorKind, MeshError};
use tokio::sync::watch;

use super::{Answers, Discover};

/// Shorter lives would make every call a lookup somewhere; longer ones hide moves.
const TTL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// Longest pause after failures.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// The process's resolver, while anybody uses it.
static SHARED: Mutex<Weak<TokioResolver>> = Mutex::new(Weak::new());

/// A DNS client. Cloning shares it; a process needs one, since each keeps sockets and state.
#[derive(Clone)]
pub struct Resolver(Arc<TokioResolver>);

/// Endpoints by DNS name: looked up again when the records' life ends (1 s to 5 min). A failed
/// lookup, also an answer without records, keeps the last endpoints.
#[derive(Clone, Debug)]
pub struct Dns {
    host: String,
    /// `None`: SRV, which brings its own ports.
    port: Option<u16>,
    resolver: Option<Resolver>,
}

// === impl Resolver ===

impl Resolver {
    /// The process's resolver, as the system's configuration says.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Dns`] (M2011) if there is none, as in containers without `/etc/resolv.conf`.
    pub fn system() -> Result<Self, MeshError> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(resolver) = shared.upgrade() {
            return Ok(Self(resolver));
        }
        let (config, options) = hickory_resolver::system_conf::read_system_conf()
            .map_err(|error| no_configuration(&error.to_string()).with_source(error))?;
        if config.name_servers().is_empty() {
            return Err(no_configuration("it names no server"));
        }
        let resolver = Self::build(config, options)?;
        *shared = Arc::downgrade(&resolver.0);
        Ok(resolver)
    }

    /// A resolver that asks one server over UDP.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Dns`] if it cannot be set up.
    pub fn with_server(server: SocketAddr) -> Result<Self, MeshError> {
        let mut connection = ConnectionConfig::udp();
        connection.port = server.port();
        let server = NameServerConfig::new(server.ip(), true, vec![connection]);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        Self::build(config, ResolverOpts::default())
    }

    fn build(config: ResolverConfig, options: ResolverOpts) -> Result<Self, MeshError> {
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
                .with_options(options);
        let options = builder.options_mut();
        // We ask when a record's life is over: a cache could only repeat the old answer.
        options.cache_size = 0;
        options.timeout = Duration::from_secs(2);
        options.attempts = 2;
        // One endpoint has both, so that none is unreachable where one family is.
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        let resolver = builder.build().map_err(|error| {
            MeshError::new(ErrorKind::Dns, "the DNS client cannot be set up").with_source(error)
        })?;
        Ok(Self(Arc::new(resolver)))
    }

    /// Addresses, and when to ask again.
    async fn addresses(&self, host: &str) -> Result<(Vec<IpAddr>, Instant), MeshError> {
        let found = self
            .0
            .lookup_ip(host)
            .await
            .map_err(|error| failed(host, error))?;
        let until = found.as_lookup().valid_until();
        Ok((found.iter().collect(), until))
    }

    /// RFC 2782: the lowest priority number is what to use; weights are ours to follow.
    async fn services(&self, name: &str) -> Result<(Vec<EndpointInfo>, Instant), MeshError> {
        let found = self
            .0
            .lookup(name, RecordType::SRV)
            .await
            .map_err(|error| failed(name, error))?;
        let records = found
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::SRV(srv) => Some(srv),
                _ => None,
            });
        let mut by_priority: BTreeMap<u16, Vec<_>> = BTreeMap::new();
        for srv in records {
            by_priority.entry(srv.priority).or_default().push(srv);
        }
        let mut until = found.valid_until();
        let mut endpoints = Vec::new();
        let Some((_, first)) = by_priority.pop_first() else {
            return Ok((endpoints, until));
        };
        let mut last_error = None;
        for srv in first {
            let target = srv.target.to_string();
            // "." says that there is decidedly no such service.
            if target == "." {
                continue;
            }
            match self.addresses(&target).await {
                Ok((addresses, end)) => {
                    until = until.min(end);
                    endpoints.extend(paired(addresses, srv.port).map(|info| EndpointInfo {
                        weight: u32::from(srv.weight).max(1),
                        ..info
                    }));
                }
                Err(error) => last_error = Some(error),
            }
        }
        match last_error {
            Some(error) if endpoints.is_empty() => Err(error),
            _ => Ok((endpoints, until)),
        }
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

/// The endpoints of one name. DNS does not say which A and which AAAA record are of one machine, but
/// all of them answer for the name, so the records of the families are paired in their order: an
/// endpoint is reached by whichever of its two connects first (RFC 8305), and a family that does
/// not work here takes no endpoint away. The A record names the pair, since a AAAA record is what
/// comes and goes.
fn paired(mut addresses: Vec<IpAddr>, port: u16) -> impl Iterator<Item = EndpointInfo> {
    addresses.sort();
    addresses.dedup();
    let (four, six): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv4);
    let at = move |ip: &IpAddr| SocketAddr::new(*ip, port);
    (0..four.len().max(six.len())).filter_map(move |ix| {
        let (four, six) = (four.get(ix).map(at), six.get(ix).map(at));
        let alternate = four.and(six);
        Some(EndpointInfo {
            alternate,
            ..EndpointInfo::new(four.or(six)?)
        })
    })
}

fn no_configuration(why: &str) -> MeshError {
    let what = format!("the system has no usable DNS configuration (/etc/resolv.conf): {why}");
    MeshError::new(ErrorKind::Dns, what)
}

fn failed(name: &str, error: impl std::error::Error + Send + Sync + 'static) -> MeshError {
    MeshError::new(
        ErrorKind::Dns,
        format!("{name} cannot be resolved: {error}"),
    )
    .with_source(error)
}

// === impl Dns ===

impl Dns {
    /// A and AAAA records, with a fixed port. A name with both has endpoints with an address in
    /// each family, as far as they go.
    pub fn addresses(host: impl AsRef<str>, port: u16) -> Self {
        Self {
            host: host.as_ref().to_owned(),
            port: Some(port),
            resolver: None,
        }
    }

    /// SRV records, such as `_http._tcp.reviews.shop`.
    pub fn services(name: impl AsRef<str>) -> Self {
        Self {
            host: name.as_ref().to_owned(),
            port: None,
            resolver: None,
        }
    }

    /// Another resolver than the process's own.
    #[must_use]
    pub fn with_resolver(mut self, resolver: Resolver) -> Self {
        self.resolver = Some(resolver);
        self
    }

    /// One lookup: the endpoints in a fixed order, and when to ask again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Dns`], also when the answer holds no record.
    pub async fn lookup(&self) -> Result<(Vec<EndpointInfo>, Instant), MeshError> {
        if let (Some(port), Ok(ip)) = (self.port, self.host.parse::<IpAddr>()) {
            let forever = Instant::now() + TTL.1;
            return Ok((vec![EndpointInfo::new(SocketAddr::new(ip, port))], forever));
        }
        let resolver = match &self.resolver {
            Some(resolver) => resolver.clone(),
            None => Resolver::system()?,
        };
        self.lookup_with(&resolver).await
    }

    async fn lookup_with(
        &self,
        resolver: &Resolver,
    ) -> Result<(Vec<EndpointInfo>, Instant), MeshError> {
        let (mut endpoints, until) = match self.port {
            Some(port) => {
                let (addresses, until) = resolver.addresses(&self.host).await?;
                (paired(addresses, port).collect::<Vec<_>>(), until)
            }
            None => resolver.services(&self.host).await?,
        };
        // Servers rotate their answers: the order must not look like a change.
        endpoints.sort_by_key(|endpoint| endpoint.addr);
        endpoints.dedup_by_key(|endpoint| endpoint.addr);
        if endpoints.is_empty() {
            let what = format!("{} has no address", self.host);
            return Err(MeshError::new(ErrorKind::Dns, what));
        }
        Ok((endpoints, until))
    }

    async fn run(mut self, answers: &watch::Sender<Option<Arc<[EndpointInfo]>>>) {
        let mut pause = TTL.0;
        loop {
            if self.resolver.is_none() && self.host.parse::<IpAddr>().is_err() {
                // Held while this runs, so that all share it.
                self.resolver = Resolver::system().ok();
            }
            let wait = match self.lookup().await {
                Ok((endpoints, until)) => {
                    pause = TTL.0;
                    answers.send_if_modified(|now| {
                        let changed = now.as_deref() != Some(endpoints.as_slice());
                        if changed {
                            *now = Some(endpoints.into());
                        }
                        changed
                    });
                    until
                        .saturating_duration_since(Instant::now())
                        .clamp(TTL.0, TTL.1)
                }
                Err(error) => {
                    tracing::warn!(target: "mesh::discover", "the last endpoints stay: {error}");
                    let wait = pause;
                    pause = pause.saturating_mul(2).min(MAX_PAUSE);
                    wait
                }
            };
            tokio::time::sleep(wait).await;
        }
    }
}

impl Discover for Dns {
    fn watch(self) -> Answers {
        let answers = watch::Sender::new(None);
        let receiver = answers.subscribe();
        // Ends with its last receiver.
        tokio::spawn(async move {
            tokio::select! {
                () = answers.closed() => {}
                () = self.run(&answers) => {}
            }
        });
        receiver
    }
}

#[cfg(test)]
mod tests;
