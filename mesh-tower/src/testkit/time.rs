use std::time::Duration;

use mesh_core::clock;

/// On paused time: lets it pass until windows and slots of every usual length begin, on the core's clock.
/// Without it two runs of one process are at different places in them, and need not decide alike.
pub async fn begin_windows() {
    let into = clock::into_the_hour(crate::runtime::now());
    tokio::time::sleep(Duration::from_secs(3600) - into).await;
}
