//! Requests that say two things, or what only HTTP/1.1 may say.

use super::PROTOCOL;
use crate::Fronts;
use crate::frames::*;

type Fields = &'static [(&'static str, &'static str)];

/// A name, the first fields, and those that follow them.
const REQUESTS: &[(&str, Fields, Fields)] = &[
    ("another host", GET, &[("host", "other")]),
    (
        "two hosts",
        GET,
        &[("host", "app.shop"), ("host", "app.shop")],
    ),
    (
        "a user in :authority",
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "u@app.shop"),
            (":path", "/case"),
        ],
        &[],
    ),
    (
        "no :path",
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "app.shop"),
        ],
        &[],
    ),
    (
        "an empty :path",
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "app.shop"),
            (":path", ""),
        ],
        &[],
    ),
    (
        "a :path without a slash",
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "app.shop"),
            (":path", "case"),
        ],
        &[],
    ),
    (
        "no :method",
        &[
            (":scheme", "http"),
            (":authority", "app.shop"),
            (":path", "/case"),
        ],
        &[],
    ),
    (
        "no :scheme",
        &[
            (":method", "GET"),
            (":authority", "app.shop"),
            (":path", "/case"),
        ],
        &[],
    ),
    (
        "two :paths",
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "app.shop"),
            (":path", "/case"),
            (":path", "/evil"),
        ],
        &[],
    ),
    ("an unknown pseudo-field", GET, &[(":evil", "1")]),
    ("a pseudo-field of answers", GET, &[(":status", "200")]),
    (
        "a pseudo-field after others",
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "app.shop"),
            ("x", "1"),
            (":path", "/case"),
        ],
        &[],
    ),
    ("connection", GET, &[("connection", "close")]),
    (
        "transfer-encoding",
        GET,
        &[("transfer-encoding", "chunked")],
    ),
    ("upgrade", GET, &[("upgrade", "websocket")]),
    ("keep-alive", GET, &[("keep-alive", "timeout=5")]),
    (
        "proxy-connection",
        GET,
        &[("proxy-connection", "keep-alive")],
    ),
    ("te other than trailers", GET, &[("te", "gzip")]),
    ("a name in capitals", GET, &[("X-Case", "1")]),
    ("a line break in a value", GET, &[("x", "a\r\nevil: 1")]),
    ("a NUL in a value", GET, &[("x", "a\0b")]),
    ("a space in a name", GET, &[("x y", "1")]),
    (
        "two lengths",
        GET,
        &[("content-length", "1"), ("content-length", "2")],
    ),
    ("a length that is none", GET, &[("content-length", "x")]),
    (
        "CONNECT to an origin",
        &[(":method", "CONNECT"), (":authority", "app.shop")],
        &[],
    ),
];

#[tokio::test]
async fn requests_that_only_http1_may_make_are_not_passed_on() {
    let fronts = Fronts::start().await;
    let mut bad = Vec::new();
    for (front, addr) in fronts.all() {
        for (name, pseudo, more) in REQUESTS {
            let fields: Vec<_> = pseudo.iter().chain(more.iter()).copied().collect();
            let mut client = Client::connect(addr).await;
            client
                .wire
                .send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&fields)))
                .await;
            let end = client.end(1).await;
            let seen = fronts.seen(addr).await;
            let fine = matches!(
                end,
                End::Reset(PROTOCOL) | End::GoAway(PROTOCOL) | End::Status(400 | 405 | 502)
            );
            if !fine || !seen.is_empty() {
                bad.push(format!("{front}: {name}: {end:?}, {} seen", seen.len()));
            }
        }
    }
    println!("{} cases at {} fronts", REQUESTS.len(), fronts.all().len());
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}
