//! The demo as a person uses it. Its own assertions are `demo --headless --assert`.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

/// Long enough for a loaded machine; nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_demo_takes_what_is_typed_and_leaves_nothing_behind() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_demo"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut typed = demo.stdin.take().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let mut seen = String::new();
    for (until, then) in [
        ("first line", "break policy\n"),
        // What users are told, with its code.
        ("failed: M4001", "check\n"),
        ("M5006", "heal\n"),
        ("users see 100.00%", "quit\n"),
        ("stopping", ""),
    ] {
        let found = tokio::time::timeout(PATIENCE, async {
            while let Some(line) = lines.next_line().await.unwrap() {
                seen.push_str(&line);
                seen.push('\n');
                if line.contains(until) {
                    return true;
                }
            }
            false
        });
        assert!(found.await.unwrap_or(false), "no {until:?} in:\n{seen}");
        typed.write_all(then.as_bytes()).await.unwrap();
    }
    let ended = tokio::time::timeout(PATIENCE, demo.wait()).await.unwrap();
    // "left behind" is a failure of its own.
    assert!(ended.unwrap().success(), "{seen}");
}
