//! The control server: [`Server::start`] opens the state, binds three listeners and gives a
//! [`Running`].
//!
//! | listener | who | what |
//! | --- | --- | --- |
//! | gRPC, mutual TLS | members; joiners with a token | join, renew, subscribe, register, report |
//! | admin socket, mode 0600 | `meshctl` of the same user | apply policy, ask |
//! | page, loopback HTTP | people, probes, scrapers | read only |
//!
//! A member speaks only for the service of its own certificate. The gRPC port is served by the same
//! inbound stack as every workload's.

mod admin;
pub(crate) mod answers;
mod caller;
mod config;
mod exceptions;
mod identity;
mod local;
mod own;
mod pace;
mod registry;
mod report;
mod rpc;
mod splits;
pub(crate) mod state;
mod tasks;

pub use config::Config;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use mesh_core::policy::Options;
use mesh_tower::Mesh;
use mesh_tower::server::ServerHandle;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ca::{Ca, JoinToken};
use crate::page::{self, Pages};
use crate::registry::{LeaseFile, Registry};
use crate::store::{PolicyDir, PolicyStore};
use crate::{Error, files};
use local::AdminSocket;
use state::Shared;

/// How long streams may go on after a stop. They are endless, so they are cut; clients reconnect.
const GRACE: Duration = Duration::from_millis(500);

/// Starts control servers.
#[derive(Debug)]
pub struct Server;

/// A control server that is serving. Dropping it stops its tasks at once; [`Running::shutdown`]
/// stops them in order.
#[derive(Debug)]
#[must_use = "dropping it stops the server"]
pub struct Running {
    /// The bound address of the gRPC port.
    pub grpc_addr: SocketAddr,
    /// The bound address of the page, health and metrics.
    pub page_addr: SocketAddr,
    shared: Arc<Shared>,
    config: Config,
    ready: Arc<AtomicBool>,
    leases: LeaseFile,
    stop: CancellationToken,
    grpc: ServerHandle,
    local: JoinSet<()>,
    upkeep: JoinSet<()>,
    _mesh: Mesh,
    /// The lock of the state directory; last, so that it is freed when all else has stopped.
    _lock: std::fs::File,
}

impl Server {
    /// Opens the state directory, binds the gRPC port, the page and the admin socket, and serves
    /// them until [`Running::shutdown`].
    ///
    /// # Errors
    ///
    /// `M5003` when the state directory is unusable or held by another server, `M1004` when a port
    /// is in use, `M1003` for a value that cannot be.
    pub async fn start(config: Config) -> Result<Running, Error> {
        config.check()?;
        let lock = files::open_state_dir(&config.state_dir)?;
        let now = SystemTime::now();
        let ca = Ca::open(
            &config.state_dir,
            &config.trust_domain,
            config.leaf_ttl,
            now,
        )?;
        let token = JoinToken::open(&config.token_path(), ca.fingerprint())?;

        let mut directory = config.policy_dir.clone().map(PolicyDir::new);
        let texts = match &mut directory {
            Some(directory) => tasks::first_look(directory).await?,
            None => Vec::new(),
        };
        let options = Options::whole().with_default_namespace(config.default_namespace.as_str());
        let policy = PolicyStore::open(&config.state_dir, options, texts)?;
        let leases = LeaseFile::new(&config.state_dir);
        let mut registry = Registry::default();
        let (known, problem) = leases.load();
        registry.restore(known, Instant::now());

        let mesh = own::mesh(&config)?;
        let shared = Shared::new(ca, token, policy, registry, config.leaf_ttl);
        own::renew(&shared, mesh.credentials())?;
        shared.publish_all();
        tasks::say_how_it_started(&shared, problem);

        let page = bind(config.page, "--page").await?;
        let page_addr = page
            .local_addr()
            .map_err(|error| taken(config.page, "--page", error))?;
        let socket = AdminSocket::bind(&config.admin_socket_path())?;
        let grpc = own::serve(&mesh, config.listen, rpc::Members::new(&shared))?;

        let stop = CancellationToken::new();
        let ready = Arc::new(AtomicBool::new(true));
        let pages = Pages {
            shared: shared.clone(),
            mesh: mesh.clone(),
            ready: ready.clone(),
            loopback: page_addr.ip().is_loopback(),
        };
        let mut local = JoinSet::new();
        local.spawn(local::page(page, page::router(pages), stop.clone()));
        local.spawn(local::admin(socket, shared.clone(), stop.clone()));
        let mut upkeep = JoinSet::new();
        upkeep.spawn(tasks::tick(shared.clone()));
        upkeep.spawn(tasks::expire(shared.clone()));
        upkeep.spawn(tasks::write_leases(shared.clone(), leases.clone()));
        upkeep.spawn(own::keep_renewed(
            shared.clone(),
            mesh.credentials().clone(),
        ));
        if let Some(directory) = directory {
            upkeep.spawn(tasks::watch_directory(shared.clone(), directory));
        }
        Ok(Running {
            grpc_addr: grpc.local_addr(),
            page_addr,
            shared,
            config,
            ready,
            leases,
            stop,
            grpc,
            local,
            upkeep,
            _mesh: mesh,
            _lock: lock,
        })
    }
}

impl Running {
    /// The join token: `mesh1.<secret>.<sha256 of the CA certificate>`.
    pub fn join_token(&self) -> &str {
        self.shared.token.as_str()
    }

    /// The file (mode 0600) that holds the join token.
    pub fn token_path(&self) -> PathBuf {
        self.config.token_path()
    }

    /// The admin socket that `meshctl` speaks to.
    pub fn admin_socket(&self) -> PathBuf {
        self.config.admin_socket_path()
    }

    /// What it was started with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The CA's certificate, PEM: what a client outside the mesh needs to trust it.
    pub fn ca_certificate_pem(&self) -> &str {
        self.shared.ca.certificate_pem()
    }

    /// Revision of the policy in force.
    pub fn revision(&self) -> String {
        self.shared.current().revision.to_string()
    }

    /// Applies policy texts (name, text) in place of what was applied before, as `meshctl policy
    /// apply` does. Returns the revision now in force.
    ///
    /// # Errors
    ///
    /// All errors for people, when the policy is refused or cannot be written.
    pub fn apply(
        &self,
        files: impl IntoIterator<Item = (String, String)>,
    ) -> Result<String, String> {
        let files = files
            .into_iter()
            .map(|(name, text)| crate::store::File { name, text });
        let outcome = self.shared.apply(files.collect(), false);
        match (outcome.accepted, outcome.unwritten) {
            (true, _) => Ok(self.revision()),
            (false, Some(why)) => Err(why),
            (false, None) => Err(outcome.checked.rendered),
        }
    }

    /// Stops: not ready, no new connections, calls in flight end, streams are cut, leases are on
    /// disk. Workloads go on with what they hold and reconnect when a server is back.
    pub async fn shutdown(mut self) {
        self.ready.store(false, Ordering::Release);
        let _ = tokio::time::timeout(GRACE, self.grpc.shutdown()).await;
        self.stop.cancel();
        while self.local.join_next().await.is_some() {}
        self.upkeep.shutdown().await;
        if let Err(error) = tasks::save_leases(&self.shared, &self.leases) {
            tracing::warn!(%error, "leases could not be written");
        }
    }
}

impl Config {
    fn check(&self) -> Result<(), Error> {
        let wrong = |what: String, next: &str| Err(Error::new("M1003", what, next));
        if let Err(error) = mesh_core::identity::check_trust_domain(&self.trust_domain) {
            let next = "a trust domain is lower-case letters, digits, dots, - and _";
            return wrong(
                format!("trust domain {:?}: {error}", self.trust_domain),
                next,
            );
        }
        if mesh_core::name::ServiceName::new(&self.default_namespace, "x").is_err() {
            let what = format!(
                "default namespace {:?} is not a DNS label",
                self.default_namespace
            );
            return wrong(what, "a namespace is lower-case letters, digits and -");
        }
        if self.leaf_ttl < Duration::from_secs(10) {
            let what = format!(
                "leaf life of {:?} is too short to be renewed",
                self.leaf_ttl
            );
            return wrong(what, "give at least 10s; the default is 24h");
        }
        Ok(())
    }
}

async fn bind(addr: SocketAddr, flag: &str) -> Result<TcpListener, Error> {
    TcpListener::bind(addr)
        .await
        .map_err(|error| taken(addr, flag, error))
}

fn taken(addr: SocketAddr, flag: &str, error: io::Error) -> Error {
    let (code, next) = match error.kind() {
        io::ErrorKind::AddrInUse => (
            "M1004",
            format!(
                "stop what listens on port {}, or give another {flag}",
                addr.port()
            ),
        ),
        _ => ("M1003", format!("give {flag} an address of this machine")),
    };
    Error::new(code, format!("cannot listen on {addr}"), next).with_source(error)
}

const _: () = {
    const fn is_send<T: Send + Sync>() {}
    is_send::<Config>();
    is_send::<Shared>();
};
