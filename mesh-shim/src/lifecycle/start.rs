//! How one application starts, step by step, beside all others.

use std::time::Duration;

use mesh_core::retry::Backoff;
use mesh_tower::Mesh;
use tokio::sync::mpsc::UnboundedSender;

use crate::config::{App, Application};
use crate::error::ShimError;
use crate::join::{How, join};
use crate::supervise::{OFTEN, SELDOM, accepts};

/// Between two tries to join: nobody is helped by more of what was refused.
const REFUSED: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));

/// What is tried again, and what ends the shim.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// To join.
    pub(super) join: bool,
    /// To wait for the application's port beyond its time.
    pub(super) port: bool,
}

/// What has become of an application, by its place in the configuration.
pub(super) type Told = (usize, Step);

/// One step of a start.
pub(super) enum Step {
    /// It is a member of the mesh.
    Joined(Box<Mesh>),
    /// Its port accepts, or it has none.
    Accepts,
    /// Its port does not accept after the time that it may take.
    Late(App),
    /// It could not join.
    Refused(ShimError),
}

/// Takes the steps, and tells of each.
pub(super) async fn start(
    index: usize,
    application: Application,
    how: How,
    patience: Patience,
    tell: UnboundedSender<Told>,
) {
    let tell = |step| drop(tell.send((index, step)));
    let mut tries = 0;
    let mesh = loop {
        match join(&how, &application).await {
            Ok(mesh) => break mesh,
            Err(error) => tell(Step::Refused(error)),
        }
        if !patience.join {
            return;
        }
        tries += 1;
        // Not less than the base, which is what spares the control server.
        let pause = REFUSED.pause(tries, &mut fastrand::Rng::new());
        tokio::time::sleep(pause.max(REFUSED.ceiling(1))).await;
    };
    tell(Step::Joined(Box::new(mesh)));
    if let Some(app) = application.app {
        tracing::info!("waiting for the application to accept on {}", app.addr);
        let in_time = accepts(app.addr, OFTEN);
        if tokio::time::timeout(app.ready_within, in_time)
            .await
            .is_err()
        {
            tell(Step::Late(app));
            if !patience.port {
                return;
            }
            accepts(app.addr, SELDOM).await;
        }
    }
    tell(Step::Accepts);
}
