//! What the mesh needs to know of the runtime it is on: which worker this thread is, and which
//! tasks are its own.

#[cfg(target_os = "linux")]
mod notify;
mod spawn;
mod tasks;
mod worker;

#[cfg(target_os = "linux")]
pub use self::notify::{Notice, notify};
pub(crate) use self::spawn::{Spawner, spawn};
pub use self::tasks::{AbortOnDrop, Tasks};
pub use self::worker::{set_worker_index, worker_index};

/// Now, on tokio's clock: paused tests and simulations see their own time.
pub fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}

/// The wall clock, which goes on with tokio's: on paused time it stands and is moved with it.
pub fn wall() -> std::time::SystemTime {
    let (virtual_now, real) = (now(), std::time::Instant::now());
    let wall = std::time::SystemTime::now();
    let moved = match virtual_now.checked_duration_since(real) {
        Some(ahead) => wall.checked_add(ahead),
        None => wall.checked_sub(real.saturating_duration_since(virtual_now)),
    };
    moved.unwrap_or(wall)
}
