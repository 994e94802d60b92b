//! A small shop in a mesh, on loopback.
//!
//! ```text
//! users --http--> web --gRPC--> reviews-v1 x2, reviews-v2 --http--> ratings
//!                  \---http--> [shim] legacy-stock --http_proxy--> [shim] --http--> ratings
//! ```
//!
//! Every arrow between services is mutual TLS, from the first second. Each box is a process of its
//! own, started by this one (`demo role ...`), which is also the users.

mod args;
mod breaks;
mod census;
mod console;
mod fault;
mod figures;
mod headless;
mod incident;
mod load;
mod meshctl;
mod plans;
mod policy;
mod process;
mod roles;
mod say;
mod scratch;
mod shop;
mod ticker;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};

use self::args::{Cli, Command};
use self::say::plain;

/// Runs the demo, or one of its processes.
pub fn main() -> ExitCode {
    let started = Instant::now();
    let cli = Cli::parse();
    match cli.command {
        Some(Command::Role(role)) => role.run(),
        Some(Command::Break { what }) => run(started, cli.options, Some(what)),
        None => run(started, cli.options, None),
    }
}

fn run(started: Instant, options: args::Options, first: Option<breaks::Break>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            plain(format_args!("cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        let demo = async {
            if options.headless {
                headless::run(started, &options).await
            } else {
                console::run(started, &options, first).await
            }
        };
        // The console stops in order by itself; this is for the moments when it does not listen.
        tokio::select! {
            code = demo => code,
            () = second_signal() => ExitCode::FAILURE,
        }
    });
    // A read of standard input may be under way; nobody waits for it.
    runtime.shutdown_background();
    code
}

/// Ready at the second SIGINT or SIGTERM: the first one asks, the second one insists. The processes
/// end with this one in either case.
async fn second_signal() {
    let (Ok(mut int), Ok(mut term)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return std::future::pending().await;
    };
    for _ in 0..2 {
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
        }
    }
}

/// Ready at the first SIGINT or SIGTERM.
pub(crate) async fn asked_to_stop() {
    let (Ok(mut int), Ok(mut term)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
    }
}
