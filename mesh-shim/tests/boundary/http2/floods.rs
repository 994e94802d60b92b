//! Frames without end, and streams that nobody reads: what they cost is bounded.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;

use super::ENHANCE_YOUR_CALM;
use crate::Fronts;
use crate::common::Shim;
use crate::common::app::ok;
use crate::frames::*;

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
        let _ = client.wire.io.write_all(&flood).await;
        let end = loop {
            match client.end(u32::MAX).await {
                End::Status(_) => {}
                end => break end,
            }
        };
        println!("{front}: 20,000 streams opened and reset: {end:?}");
        assert!(
            matches!(end, End::GoAway(ENHANCE_YOUR_CALM) | End::Closed),
            "{front}: {end:?}"
        );
        // Others are served all the same.
        fronts.seen(addr).await;
    }
}

#[tokio::test]
async fn floods_without_end_are_cut_or_cost_nothing() {
    let fronts = Fronts::start().await;
    for (front, addr) in fronts.all() {
        let shims = [&fronts.hop.app, &fronts.pair.web, &fronts.gate.edge];
        let before = shims.map(Shim::memory);
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
            let write = client.wire.io.write_all(&flood);
            let written = tokio::time::timeout(Duration::from_secs(3), write).await;
            let after = shims.map(Shim::memory);
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
        // Others are served all the same.
        fronts.seen(addr).await;
    }
}

#[tokio::test]
async fn a_hundred_stalled_streams_on_each_of_ten_connections_are_bounded() {
    let large = 300 << 10;
    let fronts = Fronts::answering(move |request| {
        if !request.head.line.contains("/case") {
            return ok();
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {large}\r\n\r\n");
        let mut answer = head.into_bytes();
        answer.resize(answer.len() + large, b'x');
        (answer, false)
    })
    .await;
    let shims = [&fronts.hop.app, &fronts.pair.web, &fronts.pair.app];
    let before = shims.map(Shim::memory);
    let mut clients = Vec::new();
    for (_, addr) in &fronts.all()[..2] {
        for _ in 0..10 {
            let mut client = Client::connect(*addr).await;
            for n in 0..100 {
                let get = get(2 * n + 1);
                let _ = client.wire.io.write_all(&get).await;
            }
            clients.push(client);
        }
    }
    // The answers fill the windows; nobody reads on. That memory no longer grows shows when it is over:
    // equal at two looks half a second apart, and not before the first answers can be there.
    let began = Instant::now();
    let mut last = 0;
    while began.elapsed() < Duration::from_secs(20) {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = shims.map(Shim::memory).iter().sum();
        if now == last && began.elapsed() > Duration::from_secs(3) {
            break;
        }
        last = now;
    }
    let after = shims.map(Shim::memory);
    let answered = fronts.app.take().len();
    println!(
        "{answered} of 2,000 answers of 300 KiB given to two fronts, and stalled: KiB {before:?} -> {after:?}"
    );
    assert!(answered >= 100, "{answered}: nothing was there to hold");
    for (before, after) in before.iter().zip(after) {
        assert!(after < before + 400 * 1024, "{before} -> {after}");
    }
}
