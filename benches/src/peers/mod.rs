//! The shim beside other proxies, in one run: how much CPU a request costs each, how much latency each adds, and what
//! memory each takes.
//!
//! The load and the backends run on one core, the subject alone on another; the fixed rate is measured on shared cores
//! too ([`cores`]). A subject is a proxy, or two of them with
//! mutual TLS between; what is not installed is left out with a note.

#![allow(
    clippy::disallowed_methods,
    reason = "threads of the load sleep until a call is due; no runtime is theirs"
)]

pub mod backend;
pub mod bare;
pub mod cores;
pub mod files;
pub mod load;
pub mod measure;
pub mod plot;
pub mod process;
pub mod report;
pub mod scenario;
pub mod subject;
