//! What the mesh needs to know of the runtime it is on: which worker this thread is, and which
//! tasks are its own.

mod tasks;
mod worker;

pub use self::tasks::{AbortOnDrop, Tasks};
pub use self::worker::{set_worker_index, worker_index};

/// Now, on tokio's clock: paused tests and simulations see their own time.
pub fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}
