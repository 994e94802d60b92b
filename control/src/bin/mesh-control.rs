//! `mesh-control`: the control server.
fn main() {}
