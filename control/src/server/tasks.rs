//! What goes on beside the calls: windows, leases, the policy directory. Each task is owned by
//! [`Running`](super::Running) and ends with it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

use super::state::Shared;
use crate::Error;
use crate::cli::table::plural;
use crate::registry::{Instance, LeaseFile};
use crate::store::{File, Look, PolicyDir, SETTLE};

/// How often windows move on and the directory is looked at.
const SECOND: Duration = Duration::from_secs(1);
/// How often leases are looked at: with 15 s of lease, a crashed instance is gone after at most
/// 15.5 s.
const EXPIRE_EVERY: Duration = Duration::from_millis(500);
/// Changes of a rolling restart are written together.
const WRITE_AFTER: Duration = Duration::from_millis(50);

pub(super) async fn tick(shared: Arc<Shared>) {
    let mut every = interval(SECOND);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        shared.tick(Instant::now());
    }
}

pub(super) async fn expire(shared: Arc<Shared>) {
    let mut every = interval(EXPIRE_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        shared.expire(Instant::now());
    }
}

/// Writes the leases when membership has changed; heartbeats are not worth a write, because a
/// restart gives each entry a fresh lease anyway.
pub(super) async fn write_leases(shared: Arc<Shared>, file: LeaseFile) {
    loop {
        shared.leases_changed.notified().await;
        tokio::time::sleep(WRITE_AFTER).await;
        let (state, target) = (shared.clone(), file.clone());
        let written = tokio::task::spawn_blocking(move || save_leases(&state, &target)).await;
        if let Ok(Err(error)) = written {
            let text = format!("leases could not be written: {error}");
            shared.event("registry", "state directory", text, "M5003");
        }
    }
}

pub(super) fn save_leases(shared: &Shared, file: &LeaseFile) -> io::Result<()> {
    let instances: Vec<Instance> =
        shared.read_registry(|registry| registry.all().cloned().collect());
    file.save(instances)
}

/// The texts of the directory at the start, settled like every later change of it.
pub(super) async fn first_look(directory: &mut PolicyDir) -> Result<Vec<File>, Error> {
    loop {
        match directory.look() {
            Look::Changed(content) => {
                return content.map_err(|why| {
                    Error::new(
                        "M1003",
                        format!("policy directory {}: {why}", directory.path().display()),
                        "give --policy-dir an existing directory of *.yaml files",
                    )
                });
            }
            Look::Same => return Ok(Vec::new()),
            Look::Unsettled => tokio::time::sleep(SETTLE).await,
        }
    }
}

pub(super) async fn watch_directory(shared: Arc<Shared>, mut directory: PolicyDir) {
    let mut every = interval(SECOND);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut again = false;
    loop {
        if again {
            tokio::time::sleep(SETTLE).await;
        } else {
            every.tick().await;
        }
        let state = shared.clone();
        // Files, validation and a synced write: none of them for the runtime's threads.
        let looked = tokio::task::spawn_blocking(move || {
            let look = directory.look();
            let unsettled = look == Look::Unsettled;
            match look {
                Look::Changed(Ok(files)) => state.take_directory(files),
                Look::Changed(Err(why)) => {
                    let subject = directory.path().display().to_string();
                    let text = format!("cannot be read, the old policy stays in force: {why}");
                    state.event("policy", subject, text, "M1003");
                }
                Look::Same | Look::Unsettled => {}
            }
            (directory, unsettled)
        });
        match looked.await {
            // One that changes with every look is left until the next second.
            Ok((back, unsettled)) => (directory, again) = (back, unsettled && !again),
            Err(error) => {
                tracing::error!(%error, "the policy directory is no longer watched");
                return;
            }
        }
    }
}

/// The first events: what was found in the state directory.
pub(super) fn say_how_it_started(shared: &Shared, leases: Option<String>) {
    let current = shared.current();
    let instances = shared.read_registry(crate::registry::Registry::len);
    let text = format!(
        "started with revision {}, {}, {} from before",
        current.revision,
        plural(current.resources.len(), "resource"),
        plural(instances, "instance")
    );
    shared.event("policy", "control server", text, "");
    let refused = shared.policy().refused().cloned();
    if let Some(refused) = refused {
        let text = format!("refused: {}", refused.first);
        shared.event("policy", "policy directory", text, refused.code);
        tracing::warn!(
            "policy directory refused; the last good policy is in force\n{}",
            refused.rendered
        );
    }
    if let Some(why) = leases {
        let text = format!("leases of the former run could not be read: {why}");
        shared.event("registry", "state directory", text, "M5003");
    }
}
