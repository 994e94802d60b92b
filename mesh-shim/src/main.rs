//! `mesh-shim`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    mesh_shim::main()
}
