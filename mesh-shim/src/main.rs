//! `mesh-shim`: see the library.

fn main() {}
