//! `mesh-control`: the control server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use mesh_control::Error;
use mesh_control::server::{Config, Running, Server};
use mesh_tower::runtime::{Notice, notify};
use tracing_subscriber::EnvFilter;

/// Holds the policy, issues identities, and tells each workload what concerns it.
///
/// Workloads join with the token in <STATE_DIR>/join-token and keep serving when this server is
/// gone. `meshctl` speaks to it over <STATE_DIR>/admin.sock.
#[derive(Debug, Parser)]
#[command(
    name = "mesh-control",
    version,
    after_help = "Policy: put *.yaml files into --policy-dir (read every second), or use\n\
                  `meshctl policy apply FILE`. An invalid change is refused as a whole and the old\n\
                  policy stays in force; `meshctl check` says why.\n\n\
                  Example:\n  mesh-control --state-dir ./state --policy-dir ./policies\n  \
                  meshctl --control unix:./state/admin.sock check"
)]
struct Args {
    /// Directory of the CA, the join token, applied policy and leases; made with mode 0700
    #[arg(
        long,
        env = "MESH_CONTROL_STATE",
        value_name = "DIR",
        default_value = "/var/lib/mesh-control"
    )]
    state_dir: PathBuf,
    /// Address for workloads: join, subscribe, register, report (mutual TLS)
    #[arg(
        long,
        env = "MESH_CONTROL_LISTEN",
        value_name = "ADDR",
        default_value = "0.0.0.0:7443"
    )]
    listen: SocketAddr,
    /// Address of the page, its API, health and metrics (plain HTTP, read-only)
    #[arg(
        long,
        env = "MESH_CONTROL_PAGE",
        value_name = "ADDR",
        default_value = "127.0.0.1:7480"
    )]
    page: SocketAddr,
    /// Directory of policy files
    #[arg(long, env = "MESH_CONTROL_POLICY", value_name = "DIR")]
    policy_dir: Option<PathBuf>,
    /// Trust domain of the identities that are issued; fixed at the first start
    #[arg(
        long,
        env = "MESH_CONTROL_TRUST_DOMAIN",
        value_name = "NAME",
        default_value = "mesh.local"
    )]
    trust_domain: String,
    /// Namespace of resources that do not say theirs
    #[arg(
        long,
        env = "MESH_CONTROL_NAMESPACE",
        value_name = "NAME",
        default_value = "default"
    )]
    namespace: String,
    /// Life of issued certificates, such as 24h, 90m or 30s; renewed at 70 %
    #[arg(long, env = "MESH_CONTROL_LEAF_TTL", value_name = "TIME", default_value = "24h", value_parser = duration)]
    leaf_ttl: Duration,
    /// Path of the admin socket [default: <STATE_DIR>/admin.sock]
    #[arg(long, env = "MESH_CONTROL_ADMIN", value_name = "PATH")]
    admin_socket: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let filter = std::env::var("MESH_LOG")
        .or_else(|_| std::env::var("RUST_LOG"))
        .unwrap_or_else(|_| "info".to_owned());
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(&filter).unwrap_or_else(|_| EnvFilter::new("info")))
        .with_ansi(
            std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && is_terminal(),
        )
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    match run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error}\nnext: {}", error.next()));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Error> {
    // Asked for before anything is bound: a signal at any later moment is a clean stop.
    let stop = stop_signal()?;
    let mut config = Config::new(args.state_dir);
    config.listen = args.listen;
    config.page = args.page;
    config.policy_dir = args.policy_dir;
    config.trust_domain = args.trust_domain;
    config.default_namespace = args.namespace;
    config.leaf_ttl = args.leaf_ttl;
    config.admin_socket = args.admin_socket;
    let running = Server::start(config).await?;
    say(&where_it_is(&running));
    notify(Notice::Ready);
    let signal = stop.await;
    tracing::info!("{signal}: stopping");
    notify(Notice::Stopping);
    running.shutdown().await;
    Ok(())
}

/// The first line of the log, for people and for those who start the server.
fn where_it_is(running: &Running) -> String {
    let policy = match &running.config().policy_dir {
        Some(directory) => directory.display().to_string(),
        None => "(none; use meshctl policy apply)".to_owned(),
    };
    format!(
        "mesh-control: grpc https://{} page http://{} admin unix:{} token {} policy {policy}",
        running.grpc_addr,
        running.page_addr,
        running.admin_socket().display(),
        running.token_path().display(),
    )
}

fn stop_signal() -> Result<impl Future<Output = &'static str>, Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = signal(SignalKind::terminate())
        .and_then(|terminate| Ok((terminate, signal(SignalKind::interrupt())?)))
        .map_err(|error| Error::start(format!("signals cannot be handled: {error}")))?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}

fn say(text: &str) {
    use std::io::Write;
    // Nobody may be reading; that is no reason to stop.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn is_terminal() -> bool {
    use std::io::IsTerminal;
    std::io::stderr().is_terminal()
}

/// `24h`, `90m`, `30s`, `500ms`, or several of them.
fn duration(text: &str) -> Result<Duration, String> {
    let interval: mesh_core::policy::spec::Interval =
        text.parse().map_err(|error| format!("{error}"))?;
    Ok(interval.get())
}
