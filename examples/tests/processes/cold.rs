//! A process that starts while there is no control server.

use std::time::Duration;

use crate::alone;
use crate::common::{Control, Role, Scratch, until};

const RESTARTS: usize = 5;
const LIMIT: Duration = Duration::from_millis(50);
/// A handshake of a debug build takes many times as long on both sides; in a release build a call takes what is owed.
const SLOWER: u32 = if cfg!(debug_assertions) { 10 } else { 1 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_control_plane_a_restart_with_the_control_server_down_serves_from_disk_within_50ms()
{
    let _alone = alone().await;
    let scratch = Scratch::new();
    let control = Control::start(&scratch.path("c"), 0).await;
    let backend = control
        .hop("echo", &scratch.path("echo"), &["--says", "here"])
        .await;
    let ask = ["--next", "echo", "--first"];
    let state = scratch.path("web");
    until("the backend is registered", async || {
        let (_, rows) = control.meshctl(&["endpoints", "echo.shop"]).await;
        rows.contains(&backend.facts["addr"])
    })
    .await;
    let first = control.hop("web", &state, &ask).await;
    assert_eq!(first.facts["first"], "200");
    println!(
        "with a control server: joined in {}us, first call in {}us",
        first.facts["joined_us"], first.facts["first_us"]
    );
    until("its disk copy has what it calls", async || {
        let files = std::fs::read_dir(&state).expect("its state");
        files.flatten().any(|file| {
            let bytes = std::fs::read(file.path()).unwrap_or_default();
            bytes.windows(9).any(|window| window == b"shop/echo")
        })
    })
    .await;
    let mut starts: Vec<_> = (0..RESTARTS)
        .map(|_| control.hop_command("web", &state, &ask))
        .collect();
    first.kill().await;
    control.kill().await;

    // The best of some: what the machine does beside is not the mesh's time.
    let (mut ready, mut served) = (Duration::MAX, Duration::MAX);
    while let Some(start) = starts.pop() {
        let again = Role::start(start).await;
        assert_eq!(again.facts["first"], "200");
        ready = ready.min(Duration::from_micros(again.number("joined_us")));
        served = served.min(Duration::from_micros(again.number("first_us")));
        again.kill().await;
    }
    println!(
        "without, best of {RESTARTS}: ready in {ready:.1?}, first call served {served:.1?} after the start of main"
    );
    assert!(ready < LIMIT, "{ready:?}");
    assert!(served < LIMIT * SLOWER, "{served:?}");
    assert_ne!(backend.stop().await["calls"], "0");
}
