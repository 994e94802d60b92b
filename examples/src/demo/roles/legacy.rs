//! `legacy-stock`: an unchanged application behind `mesh-shim run`.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use rustix::process::{Signal, getpid, kill_process};
use tokio_util::sync::CancellationToken;

use super::lines::{read_commands, tell};
use crate::demo::plans::has_python;

const STOCK_PY: &str = include_str!("../app/stock.py");

pub(crate) fn run(port: u16, script: &Path) -> ExitCode {
    let stop = CancellationToken::new();
    read_commands(stop.clone(), |_| {});
    // The shim stops on a signal, as under any supervisor; the demo closes the pipe.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        if let Ok(runtime) = runtime {
            runtime.block_on(stop.cancelled());
        }
        let _ = kill_process(getpid(), Signal::TERM);
    });
    let app: Vec<OsString> = if has_python() {
        if let Err(error) = std::fs::write(script, STOCK_PY) {
            tell(format_args!("cannot write {}: {error}", script.display()));
            return ExitCode::FAILURE;
        }
        vec!["python3".into(), script.into()]
    } else {
        let Ok(exe) = std::env::current_exe() else {
            return ExitCode::FAILURE;
        };
        vec![exe.into(), "role".into(), "stock".into()]
    };
    let port = port.to_string();
    let flags = [
        "mesh-shim",
        "run",
        "--as",
        "shop/legacy-stock",
        "--port",
        &port,
        "--inbound",
        "127.0.0.1:0",
        "--outbound",
        "127.0.0.1:0",
        "--health",
        "127.0.0.1:0",
        "--metrics",
        "127.0.0.1:0",
        // Everybody learns of a stop within milliseconds here.
        "--drain-unready",
        "200ms",
        "--drain-in-flight",
        "3s",
        "--",
    ];
    let args = flags.iter().map(OsString::from).chain(app);
    mesh_shim::main_with(args, |_| tell("ready"))
}
