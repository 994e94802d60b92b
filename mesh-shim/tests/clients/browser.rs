//! A browser: a page, a fetch and a WebSocket from it.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::common::Scratch;
use crate::common::programs::{LONG, installed, python};
use crate::websocket::pair;

const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

#[tokio::test]
async fn a_browser_fetches_and_opens_a_websocket() {
    let Some(browser) = NAMES.into_iter().find(|name| installed(name)) else {
        return;
    };
    let Some(python) = python("websockets") else {
        return;
    };
    let (mut app, pair) = pair(&python).await;
    let mut told = BufReader::new(app.child.stdout.take().unwrap()).lines();
    let scratch = Scratch::new();
    let profile = format!("--user-data-dir={}", scratch.path().display());
    let page = format!("http://{}/page", pair.front());
    let mut child = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ])
        .args([
            "--no-proxy-server",
            "--remote-debugging-port=0",
            &profile,
            &page,
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let line = tokio::time::timeout(LONG, async {
        while let Some(line) = told.next_line().await.unwrap() {
            if let Some(told) = line.strip_prefix("told ") {
                return told.to_owned();
            }
        }
        panic!("the application has ended");
    })
    .await
    .expect("the page tells");
    println!("{browser}: {line}");
    child.kill().await.unwrap();
    assert_eq!(line, "hello%20one%2070000%201000%20true");
}
