//! Claims about the mesh that need real processes: they are stopped, killed, frozen and replaced under load.

#![allow(clippy::print_stdout, reason = "the figures are what the tests show")]
#![allow(
    clippy::cast_precision_loss,
    reason = "counts of a few thousand calls as shares"
)]

#[path = "../common/mod.rs"]
mod common;

mod cold;
mod frozen;
mod hops;
mod node;
mod rolling;
mod takeover;

use tokio::sync::{Mutex, MutexGuard};

/// One at a time: each measures what its processes do, not what the others leave of the machine.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}
