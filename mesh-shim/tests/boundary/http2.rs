//! HTTP/2 that is none: framing errors with the codes of RFC 9113, after h2spec; requests that say two
//! things; floods.

use crate::Fronts;
use crate::common::wire::Wire;
use crate::frames::*;

const PROTOCOL: u32 = 1;
const FLOW_CONTROL: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE: u32 = 6;
const COMPRESSION: u32 = 9;

type Sent = fn() -> Vec<u8>;

/// What is sent after the SETTINGS, the stream that is looked at, and the ends that are right.
const CASES: &[(&str, Sent, u32, &[End])] = &[
    ("a request", || get(1), 1, &[End::Status(200)]),
    (
        "an unknown frame is skipped",
        || [frame(0x99, 0xff, 0, b"x"), get(1)].concat(),
        1,
        &[End::Status(200)],
    ),
    (
        "DATA on stream 0",
        || frame(DATA, 0, 0, b"x"),
        0,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "DATA on an idle stream",
        || frame(DATA, 0, 1, b"x"),
        1,
        &[End::GoAway(PROTOCOL), End::GoAway(STREAM_CLOSED)],
    ),
    (
        "DATA with more padding than data",
        || [post(1), frame(DATA, 8, 1, &[5, 0])].concat(),
        1,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "HEADERS on stream 0",
        || frame(HEADERS, 5, 0, &block(GET)),
        0,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "HEADERS on an even stream",
        || frame(HEADERS, 5, 2, &block(GET)),
        2,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "HEADERS on a lower stream",
        || [get(5), frame(HEADERS, 5, 3, &block(GET))].concat(),
        3,
        &[
            End::GoAway(PROTOCOL),
            End::GoAway(STREAM_CLOSED),
            End::Reset(STREAM_CLOSED),
        ],
    ),
    (
        "a block that is none",
        || frame(HEADERS, 5, 1, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        1,
        &[End::GoAway(COMPRESSION)],
    ),
    (
        "an index that is not there",
        || frame(HEADERS, 5, 1, &[0xff, 0x80, 0x01]),
        1,
        &[End::GoAway(COMPRESSION)],
    ),
    (
        "a stream that depends on itself",
        || {
            frame(
                HEADERS,
                0x25,
                1,
                &[&[0, 0, 0, 1, 16][..], &block(GET)].concat(),
            )
        },
        1,
        &[End::Reset(PROTOCOL), End::GoAway(PROTOCOL)],
    ),
    (
        "PRIORITY on stream 0",
        || frame(PRIORITY, 0, 0, &[0, 0, 0, 1, 16]),
        0,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "PRIORITY of four bytes",
        || [post(1), frame(PRIORITY, 0, 1, &[0; 4])].concat(),
        1,
        &[End::Reset(FRAME_SIZE), End::GoAway(FRAME_SIZE)],
    ),
    (
        "RST_STREAM on stream 0",
        || frame(RST_STREAM, 0, 0, &[0; 4]),
        0,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "RST_STREAM on an idle stream",
        || frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]),
        1,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "RST_STREAM of three bytes",
        || [post(1), frame(RST_STREAM, 0, 1, &[0; 3])].concat(),
        1,
        &[End::GoAway(FRAME_SIZE)],
    ),
    (
        "SETTINGS on a stream",
        || frame(SETTINGS, 0, 1, &[]),
        1,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "SETTINGS of five bytes",
        || frame(SETTINGS, 0, 0, &[0; 5]),
        0,
        &[End::GoAway(FRAME_SIZE)],
    ),
    (
        "SETTINGS acknowledged with a payload",
        || frame(SETTINGS, 1, 0, &[0; 6]),
        0,
        &[End::GoAway(FRAME_SIZE)],
    ),
    (
        "ENABLE_PUSH of 2",
        || frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2]),
        0,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "a window above 2^31",
        || frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]),
        0,
        &[End::GoAway(FLOW_CONTROL)],
    ),
    (
        "MAX_FRAME_SIZE of 1",
        || frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1]),
        0,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "MAX_FRAME_SIZE of 2^24",
        || frame(SETTINGS, 0, 0, &[0, 5, 1, 0, 0, 0]),
        0,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "an unknown setting is skipped",
        || [frame(SETTINGS, 0, 0, &[0, 0xff, 0, 0, 0, 1]), get(1)].concat(),
        1,
        &[End::Status(200)],
    ),
    (
        "PUSH_PROMISE from a client",
        || {
            frame(
                PUSH_PROMISE,
                4,
                1,
                &[&[0, 0, 0, 2][..], &block(GET)].concat(),
            )
        },
        1,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "PING on a stream",
        || frame(PING, 0, 1, &[0; 8]),
        1,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "PING of seven bytes",
        || frame(PING, 0, 0, &[0; 7]),
        0,
        &[End::GoAway(FRAME_SIZE)],
    ),
    (
        "GOAWAY on a stream",
        || frame(GOAWAY, 0, 1, &[0; 8]),
        1,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "WINDOW_UPDATE of zero on the connection",
        || frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
        0,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "WINDOW_UPDATE of zero on a stream",
        || [post(1), frame(WINDOW_UPDATE, 0, 1, &[0; 4])].concat(),
        1,
        &[End::Reset(PROTOCOL), End::GoAway(PROTOCOL)],
    ),
    (
        "WINDOW_UPDATE of three bytes",
        || frame(WINDOW_UPDATE, 0, 0, &[0; 3]),
        0,
        &[End::GoAway(FRAME_SIZE)],
    ),
    (
        "WINDOW_UPDATE on an idle stream",
        || frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
        1,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "the connection's window above 2^31",
        || {
            [
                frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
                frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
            ]
            .concat()
        },
        0,
        &[End::GoAway(FLOW_CONTROL)],
    ),
    (
        "a stream's window above 2^31",
        || {
            [
                post(1),
                frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff]),
                frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff]),
            ]
            .concat()
        },
        1,
        &[End::Reset(FLOW_CONTROL), End::GoAway(FLOW_CONTROL)],
    ),
    (
        "CONTINUATION of nothing",
        || frame(CONTINUATION, 4, 1, &block(GET)),
        1,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "CONTINUATION after the last",
        || [get(1), frame(CONTINUATION, 4, 1, &block(GET))].concat(),
        1,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "CONTINUATION of another stream",
        || {
            [
                frame(HEADERS, 1, 1, &block(GET)),
                frame(CONTINUATION, 4, 3, &[]),
            ]
            .concat()
        },
        1,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "another frame within a block",
        || {
            [
                frame(HEADERS, 1, 1, &block(GET)),
                frame(PING, 0, 0, &[0; 8]),
            ]
            .concat()
        },
        1,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "a frame above the maximum",
        || [post(1), frame(DATA, 0, 1, &[0; 16_385])].concat(),
        1,
        &[End::GoAway(FRAME_SIZE), End::Reset(FRAME_SIZE)],
    ),
    (
        "a block above the maximum",
        || frame(HEADERS, 5, 1, &[0; 16_385]),
        1,
        &[End::GoAway(FRAME_SIZE)],
    ),
    (
        "DATA after END_STREAM",
        || [get(1), frame(DATA, 0, 1, b"x")].concat(),
        1,
        &[End::GoAway(STREAM_CLOSED), End::Reset(STREAM_CLOSED)],
    ),
    (
        "HEADERS after END_STREAM",
        || [get(1), frame(HEADERS, 5, 1, &block(GET))].concat(),
        1,
        &[End::GoAway(STREAM_CLOSED), End::Reset(STREAM_CLOSED)],
    ),
    (
        "trailers without END_STREAM",
        || [post(1), frame(HEADERS, 4, 1, &block(&[("x", "1")]))].concat(),
        1,
        &[End::Reset(PROTOCOL), End::GoAway(PROTOCOL)],
    ),
    (
        "a pseudo-field in trailers",
        || [post(1), frame(HEADERS, 5, 1, &block(&[(":path", "/evil")]))].concat(),
        1,
        &[End::Reset(PROTOCOL), End::Status(200)],
    ),
    (
        "a body longer than its length",
        || request_with_body("1", b"abc"),
        1,
        &[End::Reset(PROTOCOL), End::Status(400), End::Status(502)],
    ),
    (
        "a body shorter than its length",
        || request_with_body("9", b"abc"),
        1,
        &[End::Reset(PROTOCOL), End::Status(400), End::Status(502)],
    ),
];

fn request_with_body(length: &str, body: &[u8]) -> Vec<u8> {
    let mut fields = GET.to_vec();
    fields[0].1 = "POST";
    fields.push(("content-length", length));
    let head = frame(HEADERS, END_HEADERS, 1, &block(&fields));
    [head, frame(DATA, END_STREAM, 1, body)].concat()
}

#[tokio::test]
async fn framing_errors_have_the_codes_of_the_rfc() {
    let fronts = Fronts::start().await;
    let (mut bad, mut others) = (Vec::new(), 0);
    for (front, addr) in fronts.all() {
        for (name, sent, stream, ends) in CASES {
            let mut client = Client::connect(addr).await;
            client.wire.send(sent()).await;
            let mut end = client.end(*stream).await;
            // Where the connection ends with an error of another name, it is h2's choice of the name.
            let ends_it = ends.iter().any(|end| matches!(end, End::GoAway(_)));
            let allowed =
                |end: &End| ends.contains(end) || (ends_it && *end == End::GoAway(PROTOCOL));
            if !allowed(&end) && matches!(end, End::Status(200)) {
                end = client.end(*stream).await;
            }
            others += usize::from(allowed(&end) && !ends.contains(&end));
            if !allowed(&end) {
                bad.push(format!("{front}: {name}: {end:?}, and not {ends:?}"));
            }
        }
        // The others are served all the same.
        fronts.seen(addr).await;
    }
    println!(
        "{} cases at 3 fronts, {others} with PROTOCOL_ERROR in place of the nearer code",
        CASES.len()
    );
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

/// Requests that say two things, or what only HTTP/1.1 may say.
type Fields = &'static [(&'static str, &'static str)];
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
    println!("{} cases at 3 fronts", REQUESTS.len());
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

/// Resident memory now, in KiB.
fn memory(shim: &crate::common::Shim) -> u64 {
    let pid = shim.child.id().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test]
async fn a_rapid_reset_ends_its_connection_and_nobody_elses() {
    let fronts = Fronts::start().await;
    for (front, addr) in fronts.all() {
        let mut client = Client::connect(addr).await;
        let flood: Vec<u8> = (0..20_000_u32)
            .flat_map(|n| {
                [
                    get(2 * n + 1),
                    frame(RST_STREAM, 0, 2 * n + 1, &[0, 0, 0, 8]),
                ]
                .concat()
            })
            .collect();
        // It may be cut off before all of it is written.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut client.wire.io, &flood).await;
        let end = loop {
            match client.end(u32::MAX).await {
                End::Status(_) => {}
                end => break end,
            }
        };
        println!("{front}: 20,000 streams opened and reset: {end:?}");
        assert!(
            matches!(end, End::GoAway(11) | End::Closed),
            "{front}: {end:?}"
        );
        let mut other = Wire::connect(addr).await;
        other
            .send("GET /sentinel HTTP/1.1\r\nHost: app.shop\r\n\r\n")
            .await;
        assert_eq!(other.answer().await.head.status(), 200, "{front}");
    }
}

#[tokio::test]
async fn floods_without_end_are_cut_or_cost_nothing() {
    let fronts = Fronts::start().await;
    for (front, addr) in fronts.all() {
        let before = [memory(&fronts.hop.app), memory(&fronts.pair.web)];
        for (name, piece) in [
            ("CONTINUATION", frame(CONTINUATION, 0, 1, &[0; 1000])),
            ("empty CONTINUATION", frame(CONTINUATION, 0, 1, &[])),
            ("SETTINGS", frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])),
            ("PING", frame(PING, 0, 0, &[0; 8])),
            ("empty DATA", frame(DATA, 0, 1, &[])),
        ] {
            let mut client = Client::connect(addr).await;
            let start = match name {
                "CONTINUATION" | "empty CONTINUATION" => frame(HEADERS, 0, 1, &block(GET)),
                "empty DATA" => post(1),
                _ => Vec::new(),
            };
            client.wire.send(start).await;
            let flood = piece.repeat(50_000);
            // Nobody reads the answers to it.
            let write = tokio::io::AsyncWriteExt::write_all(&mut client.wire.io, &flood);
            let written = tokio::time::timeout(std::time::Duration::from_secs(3), write).await;
            let after = [memory(&fronts.hop.app), memory(&fronts.pair.web)];
            println!(
                "{front}: 50,000 {name}: {}, KiB {before:?} -> {after:?}",
                match written {
                    Ok(Ok(())) => "taken",
                    Ok(Err(_)) => "cut off",
                    Err(_) => "held back",
                }
            );
            for (before, after) in before.iter().zip(after) {
                assert!(after < before + 32 * 1024, "{front}: {name}");
            }
        }
        let mut other = Wire::connect(addr).await;
        other
            .send("GET /sentinel HTTP/1.1\r\nHost: app.shop\r\n\r\n")
            .await;
        assert_eq!(other.answer().await.head.status(), 200, "{front}");
    }
}

#[tokio::test]
async fn a_hundred_stalled_streams_on_each_of_ten_connections_are_bounded() {
    let large = 300 << 10;
    let fronts = Fronts::answering(move |request| {
        if !request.head.line.contains("/case") {
            return crate::common::app::ok();
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {large}\r\n\r\n");
        let mut answer = head.into_bytes();
        answer.resize(answer.len() + large, b'x');
        (answer, false)
    })
    .await;
    let shims = || {
        [
            memory(&fronts.hop.app),
            memory(&fronts.pair.web),
            memory(&fronts.pair.app),
        ]
    };
    let before = shims();
    let mut clients = Vec::new();
    for (_, addr) in &fronts.all()[..2] {
        for _ in 0..10 {
            let mut client = Client::connect(*addr).await;
            for n in 0..100 {
                let get = get(2 * n + 1);
                let _ = tokio::io::AsyncWriteExt::write_all(&mut client.wire.io, &get).await;
            }
            clients.push(client);
        }
    }
    // The answers fill the windows; nobody reads on.
    let began = std::time::Instant::now();
    let mut last = 0;
    while began.elapsed() < std::time::Duration::from_secs(20) {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let now = shims().iter().sum();
        if now == last && began.elapsed() > std::time::Duration::from_secs(3) {
            break;
        }
        last = now;
    }
    let after = shims();
    println!("1,000 stalled answers of 300 KiB at each of two fronts: KiB {before:?} -> {after:?}");
    for (before, after) in before.iter().zip(after) {
        assert!(after < before + 400 * 1024, "{before} -> {after}");
    }
}

/// An application of HTTP/2 that answers with DATA before HEADERS, or with a body longer than it said.
#[tokio::test]
async fn an_applications_bad_frames_cost_one_answer() {
    use crate::common::app::RawApp;
    use crate::common::pair::{Hop, Setup};
    let app = RawApp::new().await;
    let setup = Setup {
        speaks: Some("h2c"),
        ..Setup::default()
    };
    let hop = Hop::start(app.addr, setup).await;
    type Bad = fn(u32) -> Vec<u8>;
    let bad: [(&str, Bad); 3] = [
        ("DATA before HEADERS", |stream| {
            frame(DATA, END_STREAM, stream, b"evil")
        }),
        ("a status of 99", |stream| {
            frame(
                HEADERS,
                END_STREAM | END_HEADERS,
                stream,
                &block(&[(":status", "99")]),
            )
        }),
        ("more than its length", |stream| {
            let fields = [(":status", "200"), ("content-length", "1")];
            let head = frame(HEADERS, END_HEADERS, stream, &block(&fields));
            [head, frame(DATA, END_STREAM, stream, b"evil")].concat()
        }),
    ];
    for (name, bad) in bad {
        let mut client = Wire::connect(hop.front()).await;
        client
            .send("GET /case HTTP/1.1\r\nHost: app.shop\r\n\r\n")
            .await;
        let mut served = Client {
            wire: app.accept().await,
        };
        served.wire.exact(PREFACE.len()).await;
        served.wire.send(frame(SETTINGS, 0, 0, &[])).await;
        let stream = loop {
            let got = served.frame().await.expect("a request");
            if got.kind == SETTINGS && got.flags & 1 == 0 {
                served.wire.send(frame(SETTINGS, 1, 0, &[])).await;
            }
            if got.kind == HEADERS {
                break got.stream;
            }
        };
        served.wire.send(bad(stream)).await;
        let got = client.try_answer().await;
        let got = got.map(|got| (got.head.status(), got.whole, got.text()));
        println!("{name}: {got:?}");
        let fine = match &got {
            None => true,
            Some((502, ..)) => true,
            Some((200, whole, _)) => !whole,
            Some(_) => false,
        };
        assert!(fine, "{name}: {got:?}");
        drop(served);
    }
}
