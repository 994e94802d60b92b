//! The processes of the shop. Each is started by the demo, says `ready` on its standard output and
//! stops when its standard input ends, or at a signal.

mod control;
mod hop;
mod legacy;
mod lines;
mod member;
mod plain;
mod ratings;
mod reviews;
mod serve;
mod stock;
mod web;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

/// One process.
#[derive(Debug, Args)]
pub(crate) struct Role {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Debug, Subcommand)]
enum Kind {
    Control {
        #[arg(long)]
        state: PathBuf,
        #[arg(long)]
        listen: u16,
        #[arg(long)]
        page: u16,
    },
    Web,
    Reviews {
        #[arg(long)]
        name: String,
        #[arg(long)]
        release: String,
        #[arg(long)]
        seed: u64,
    },
    Ratings {
        #[arg(long)]
        rogue: bool,
    },
    /// The application that cannot link the mesh, behind the shim.
    Legacy {
        #[arg(long)]
        port: u16,
        #[arg(long)]
        script: PathBuf,
    },
    /// The same application for machines without python3.
    Stock,
    /// One of a row of services, for tests.
    Hop(hop::Hop),
    /// The shim with any flags, for tests.
    Shim {
        #[arg(last = true)]
        args: Vec<OsString>,
    },
    Meshctl {
        #[arg(last = true)]
        args: Vec<OsString>,
    },
}

impl Role {
    pub(crate) fn run(self) -> ExitCode {
        let done = match self.kind {
            Kind::Control {
                state,
                listen,
                page,
            } => control::run(state, listen, page),
            Kind::Web => web::run(),
            Kind::Reviews {
                name,
                release,
                seed,
            } => reviews::run(name, release, seed),
            Kind::Ratings { rogue } => ratings::run(rogue),
            Kind::Legacy { port, script } => return legacy::run(port, &script),
            Kind::Stock => stock::run(),
            Kind::Hop(hop) => hop::run(hop),
            Kind::Shim { args } => return shim(args),
            Kind::Meshctl { args } => return meshctl(args),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                // The log of this process; the demo shows its end.
                tracing::error!("{error}");
                ExitCode::FAILURE
            }
        }
    }
}

/// Says `ready health=ADDR SERVICE.inbound=ADDR SERVICE.upstream=ADDR`, with the last upstream of each.
fn shim(args: Vec<OsString>) -> ExitCode {
    let args = std::iter::once(OsString::from("mesh-shim")).chain(args);
    mesh_shim::main_with(args, |ports| {
        let mut line = format!("ready health={}", ports.health);
        for one in &ports.applications {
            let name = one.name.as_deref().unwrap_or("one");
            let inbound = one.inbound.map(|addr| ("inbound", addr));
            let upstreams = one.upstreams.iter().map(|addr| ("upstream", *addr));
            for (what, addr) in inbound.into_iter().chain(upstreams) {
                line.push_str(&format!(" {name}.{what}={addr}"));
            }
        }
        lines::tell(line);
    })
}

fn meshctl(args: Vec<OsString>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return ExitCode::FAILURE;
    };
    let args = std::iter::once(OsString::from("meshctl")).chain(args);
    runtime.block_on(mesh_control::cli::run(args))
}
