//! Targets, names, fields, extensions and trailers by the megabyte.

use tokio::io::AsyncWriteExt as _;

use crate::Fronts;
use crate::common::Shim;
use crate::common::wire::Wire;

#[tokio::test]
async fn what_is_too_long_is_refused_and_takes_no_memory() {
    let fronts = Fronts::start().await;
    let long = "x".repeat(1 << 20);
    let fields: String = (0..200).map(|n| format!("X-{n}: 1\r\n")).collect();
    let shims = [
        &fronts.hop.app,
        &fronts.pair.web,
        &fronts.pair.app,
        &fronts.gate.edge,
    ];
    // What a first request needs is there once.
    for (_, addr) in fronts.all() {
        fronts.seen(addr).await;
    }
    let before = shims.map(Shim::memory);
    for (front, addr) in fronts.all() {
        for (name, sent, statuses) in [
            (
                "a target of a megabyte",
                format!("GET /{long} HTTP/1.1\r\nHost: app.shop\r\n\r\n"),
                &[414, 431, 400][..],
            ),
            (
                "a method of a megabyte",
                format!("{long} / HTTP/1.1\r\nHost: app.shop\r\n\r\n"),
                &[400, 431],
            ),
            (
                "a field of a megabyte",
                format!("GET / HTTP/1.1\r\nHost: app.shop\r\nX: {long}\r\n\r\n"),
                &[431],
            ),
            (
                "a name of a megabyte",
                format!("GET / HTTP/1.1\r\nHost: app.shop\r\n{long}: x\r\n\r\n"),
                &[431],
            ),
            (
                "200 fields",
                format!("GET / HTTP/1.1\r\nHost: app.shop\r\n{fields}\r\n"),
                &[431],
            ),
        ] {
            let mut client = Wire::connect(addr).await;
            // It may be told before it has sent all.
            let _ = client.io.write_all(sent.as_bytes()).await;
            let status = client.try_answer().await.map(|answer| answer.head.status());
            assert!(
                status.is_none_or(|status| statuses.contains(&status)),
                "{front}: {name}: {status:?}"
            );
            assert!(fronts.seen(addr).await.is_empty(), "{front}: {name}");
        }
        // After the head: extensions of chunks, and trailers, by the megabyte.
        for (name, before, piece, after) in [
            ("chunk extensions", "3;", "x", "\r\nabc\r\n0\r\n\r\n"),
            (
                "many small extensions",
                "",
                "1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n",
                "0\r\n\r\n",
            ),
            ("one trailer", "0\r\nX: ", "y", "\r\n\r\n"),
            (
                "many trailers",
                "0\r\n",
                "X-Trailer: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n",
                "\r\n",
            ),
        ] {
            let mut client = Wire::connect(addr).await;
            let head =
                "POST /case HTTP/1.1\r\nHost: app.shop\r\nTransfer-Encoding: chunked\r\n\r\n";
            client.send(head).await;
            let piece = piece.repeat((16 << 20) / piece.len());
            let all = format!("{before}{piece}{after}");
            let sent = client.io.write_all(all.as_bytes()).await;
            let status = client.try_answer().await.map(|answer| answer.head.status());
            let whole = fronts.seen(addr).await.iter().any(|seen| seen.whole);
            println!(
                "{front}: 16 MiB of {name}: sent {:?}, {status:?}, whole at the application: {whole}",
                sent.is_ok()
            );
            assert!(!whole && status != Some(200), "{front}: {name}");
        }
    }
    let after = shims.map(Shim::memory);
    println!("KiB {before:?} -> {after:?}");
    for (before, after) in before.iter().zip(after) {
        assert!(after < before + 16 * 1024, "{before} -> {after}");
    }
}
