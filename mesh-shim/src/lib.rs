//! The mesh beside an application that cannot link it.
//!
//! The shim adds no policy logic: inbound it is the server stack of `mesh-tower` whose service is a
//! client to the application's port; outbound it is plain listeners whose service is the mesh's
//! client. What is its own is configuration, listeners and the life of the application's process.
//!
//! ```text
//! mesh ==mTLS==> :7143 server stack -> 127.0.0.1:PORT   the application
//! application -> :7140 forward proxy, or one port per service -> client stack ==mTLS==> mesh
//! ```

mod admin;
mod cli;
mod config;
mod error;
mod inbound;
mod ingress;
mod join;
mod lifecycle;
mod listeners;
mod logging;
mod plain_peer;
mod proxy;
mod settings;
mod supervise;
mod takeover;
mod transparent;
mod worker;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

pub use self::config::{
    App, AppProtocol, Application, Config, DrainTimes, Egress, HEALTH, INBOUND, JoinOptions,
    METRICS, OUTBOUND, Upstream,
};
pub use self::error::ShimError;
pub use self::ingress::{IngressConfig, IngressListen, Passthrough};
pub use self::listeners::{ApplicationPorts, Ports};
use self::settings::Failure;

/// The binary: the arguments of this process, its exit code.
pub fn main() -> ExitCode {
    main_with(std::env::args_os(), |_| match mesh_trim::trim() {
        Ok(bytes) => tracing::debug!(bytes, "gave back what only the start needed"),
        Err(error) => tracing::debug!("the start's pages stay resident: {error}"),
    })
}

/// The same with given arguments (the first is the program's name), for programs that contain the
/// shim. `on_ready` is told the ports once requests are taken.
pub fn main_with(
    args: impl IntoIterator<Item = OsString>,
    on_ready: impl FnOnce(&Ports),
) -> ExitCode {
    let cli = match settings::parse(args.into_iter().collect()) {
        Ok(cli) => cli,
        Err(Failure::Shim(error)) => {
            let _ = writeln!(std::io::stderr(), "mesh-shim: {error}");
            return ExitCode::from(2);
        }
        Err(Failure::Clap(error)) => {
            // `--help` is an "error" with code 0. Nobody listening is no reason to fail.
            let _ = error.print();
            return u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    if let Some(done) = cli.rules() {
        let (code, told) = match done {
            Ok(told) => (ExitCode::SUCCESS, told),
            Err(error) => (ExitCode::FAILURE, format!("mesh-shim: {error}\n")),
        };
        let _ = match code == ExitCode::SUCCESS {
            true => std::io::stdout().write_all(told.as_bytes()),
            false => std::io::stderr().write_all(told.as_bytes()),
        };
        return code;
    }
    if cli.is_check() {
        let mut told = cli.shown.join("\n");
        told.push('\n');
        let checked = cli.into_config().and_then(|config| {
            let mut all = config.applications.iter();
            all.try_for_each(|one| ingress::Setup::new(&one.ingress).map(drop))
        });
        let code = match checked {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                told = format!("{told}mesh-shim: {error}\n");
                ExitCode::from(2)
            }
        };
        let _ = std::io::stdout().write_all(told.as_bytes());
        return code;
    }
    logging::start(cli.log());
    match cli.into_config().and_then(|config| run(config, on_ready)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "mesh-shim: {error}");
            // 2 as for a flag that clap refuses: the command line is to be changed.
            ExitCode::from(if error.code() == Some("M1003") { 2 } else { 1 })
        }
    }
}

/// Runs the shim on this thread until its end; gives its exit code.
///
/// # Errors
///
/// When it cannot start: a port in use, no way into the mesh, a command that is not there, an
/// application that does not accept on its port.
pub fn run(config: Config, on_ready: impl FnOnce(&Ports)) -> Result<u8, ShimError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            ShimError::plain(
                format!("cannot start: {error}"),
                "look at the process's limits",
            )
        })?;
    let code = runtime.block_on(lifecycle::run(config, on_ready));
    // A worker that did not end in time must not hold the exit.
    runtime.shutdown_background();
    code
}
