//! Real clients through a pair of shims with mutual TLS between them. A client that is not installed
//! is named and skipped; `.ci/run` installs them.

#![allow(clippy::print_stdout, reason = "says what is skipped, and the figures")]

#[path = "../common/mod.rs"]
mod common;

mod browser;
mod curl;
mod grpc;
mod large;
mod websocket;

use common::app::Recorder;

/// Answers by path, and keeps what it has seen.
pub(crate) async fn files() -> Recorder {
    Recorder::new(|request| {
        let path = request.head.line.split(' ').nth(1).unwrap_or("").to_owned();
        let body = match path.as_str() {
            "/size" => request.body.len().to_string().into_bytes(),
            "/large" => vec![b'x'; 8 << 20],
            _ => b"hello".to_vec(),
        };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        let mut answer = head.into_bytes();
        if !request.head.line.starts_with("HEAD ") {
            answer.extend(body);
        }
        (answer, false)
    })
    .await
}
