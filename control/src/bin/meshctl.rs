//! `meshctl`: asks a control server, and checks policy files without one.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    mesh_control::cli::run(std::env::args_os()).await
}
