//! Proxies under measurement, each with what it needs to be started.

mod bare;
mod envoy;
mod haproxy;
mod nginx;
mod shim;

use std::env;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use super::backend::Backends;
use super::files::Files;
use super::process::Process;
use super::scenario::{Scenario, by_word};

/// A proxy, or a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Nothing: the load calls a backend.
    Direct,
    /// [`super::bare::Kind::Bytes`].
    Relay,
    /// [`super::bare`] with HTTP.
    Bare,
    /// `mesh-shim` with every default on, a route, budgets and, in a pair, access rules.
    Shim,
    /// Envoy with a route and nothing else.
    Envoy,
    /// Envoy with what the shim has on: retries within a budget, circuit breakers, outlier detection, timeouts,
    /// tracing headers, and RBAC in a pair.
    EnvoyFull,
    /// `EnvoyFull`, with HTTP/2 between the two of a pair whatever the caller speaks.
    EnvoyFullH2,
    /// haproxy.
    Haproxy,
    /// nginx.
    Nginx,
}

/// What a subject is started with.
#[derive(Debug)]
pub struct Places<'a> {
    /// Where configuration and logs go, and the identities are.
    pub files: &'a Files,
    /// Who answers.
    pub backends: &'a Backends,
    /// This program: it is the bare proxy as well.
    pub own: PathBuf,
}

/// A subject, running.
#[derive(Debug)]
pub struct Running {
    /// Where the load goes.
    pub addr: SocketAddr,
    /// Its processes; none for [`Subject::Direct`].
    pub processes: Vec<Process>,
}

impl Running {
    /// An error under load, with what the processes have said.
    pub fn explain(&self, error: &io::Error) -> io::Error {
        let said: Vec<_> = self.processes.iter().map(Process::said).collect();
        io::Error::other(format!("{error}; the processes said: {}", said.join(" | ")))
    }
}

/// Why there is no figure.
#[derive(Debug)]
pub enum Missing {
    /// It is not on this machine.
    NotInstalled,
    /// It cannot do this, or not as it is packaged.
    CannotDo(&'static str),
    /// It did not start.
    Failed(io::Error),
}

// === impl Subject ===

impl Subject {
    /// All, in the order of the table.
    pub const ALL: [Self; 9] = [
        Self::Direct,
        Self::Relay,
        Self::Bare,
        Self::Shim,
        Self::Envoy,
        Self::EnvoyFull,
        Self::EnvoyFullH2,
        Self::Haproxy,
        Self::Nginx,
    ];

    /// Its name in the report and on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Relay => "bare-relay",
            Self::Bare => "bare-hyper",
            Self::Shim => "mesh-shim",
            Self::Envoy => "envoy",
            Self::EnvoyFull => "envoy-full",
            Self::EnvoyFullH2 => "envoy-full-h2",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
        }
    }

    /// Starts it for `scenario` and waits until it accepts.
    ///
    /// # Errors
    ///
    /// Why it cannot be measured.
    pub fn start(self, scenario: Scenario, places: &Places<'_>) -> Result<Running, Missing> {
        match self {
            Self::Direct if scenario.is_pair() => Err(Missing::CannotDo("the same as one hop")),
            Self::Direct => Ok(Running {
                addr: backend(scenario, places)[0],
                processes: Vec::new(),
            }),
            Self::Relay => bare::relay(scenario, places),
            Self::Bare => bare::proxy(scenario, places),
            Self::Shim => shim::start(scenario, places),
            Self::Envoy => envoy::start(envoy::Form::Minimal, scenario, places),
            Self::EnvoyFull => envoy::start(envoy::Form::Full, scenario, places),
            Self::EnvoyFullH2 if scenario != Scenario::Pair => {
                Err(Missing::CannotDo("the same as envoy-full"))
            }
            Self::EnvoyFullH2 => envoy::start(envoy::Form::FullH2, scenario, places),
            Self::Haproxy => haproxy::start(scenario, places),
            Self::Nginx => nginx::start(scenario, places),
        }
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        by_word(&Self::ALL, Self::word, text)
            .map_err(|known| format!("`{text}` is no subject; {known}"))
    }
}

impl From<io::Error> for Missing {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

fn backend(scenario: Scenario, places: &Places<'_>) -> [SocketAddr; 3] {
    match scenario {
        Scenario::Tcp => places.backends.tcp,
        _ => places.backends.http,
    }
}

/// `name` where the shell would find it, or as the variable `variable` says.
fn installed(name: &str, variable: &str) -> Result<PathBuf, Missing> {
    if let Some(path) = env::var_os(variable).map(PathBuf::from) {
        return path.is_file().then_some(path).ok_or(Missing::NotInstalled);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
        .ok_or(Missing::NotInstalled)
}
