//! Several applications of one machine behind one shim: each calls and is called as itself, and none is
//! in the way of another.

#![allow(clippy::print_stdout, reason = "the figures are what the tests show")]

#[path = "../common/mod.rs"]
mod common;

mod machine;
mod newcomer;
mod serve;
mod settings;
mod stop;
