//! A small shop in a mesh, on loopback: something to look at, and to break.

use std::process::ExitCode;

fn main() -> ExitCode {
    mesh_examples::demo::main()
}
