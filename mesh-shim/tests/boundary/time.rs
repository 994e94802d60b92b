//! Peers that are slow on purpose. The limits are those of `Limits` (10 s for a head, 10 s for what
//! tells the protocol): these tests take as long, all at once.

use std::time::{Duration, Instant};

use crate::Fronts;
use crate::common::wire::Wire;

/// The limits are 10 s; none of them may take much longer, or be cut much sooner.
const AT_MOST: Duration = Duration::from_secs(14);
const AT_LEAST: Duration = Duration::from_secs(5);

#[tokio::test]
async fn who_says_nothing_or_too_slowly_is_let_go() {
    let fronts = Fronts::start().await;
    let mut waits = Vec::new();
    for (front, addr) in fronts.all() {
        for (name, sent, drips) in [
            ("silent", &b""[..], false),
            ("half a line", b"GET / HT", false),
            (
                "half a head",
                b"GET / HTTP/1.1\r\nHost: app.shop\r\n",
                false,
            ),
            ("a byte now and then", b"GET / HTTP/1.1\r\nX: ", true),
            ("half a preface", b"PRI * HTTP/2.0\r\n\r\nS", false),
            (
                "a preface and no SETTINGS",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                false,
            ),
        ] {
            waits.push(async move {
                let mut client = Wire::connect(addr).await;
                client.send(sent).await;
                let began = Instant::now();
                let ended = loop {
                    let step = Duration::from_millis(500);
                    match tokio::time::timeout(step, client.more()).await {
                        Ok(Ok(true)) => {}
                        Ok(_) => break true,
                        Err(_) if began.elapsed() > AT_MOST => break false,
                        Err(_) if drips => {
                            let _ = tokio::io::AsyncWriteExt::write_all(&mut client.io, b"x").await;
                        }
                        Err(_) => {}
                    }
                };
                (front, name, ended, began.elapsed())
            });
        }
    }
    let ends = futures_util::future::join_all(waits).await;
    let mut bad = Vec::new();
    for (front, name, ended, took) in ends {
        println!("{front}: {name}: ended {ended} after {took:.1?}");
        if !ended || took < AT_LEAST {
            bad.push(format!("{front}: {name}: ended {ended} after {took:.1?}"));
        }
    }
    assert!(
        bad.is_empty(),
        "not in {AT_LEAST:?} to {AT_MOST:?}: {bad:?}"
    );
    for (front, addr) in fronts.all() {
        assert!(fronts.seen(addr).await.is_empty(), "{front}");
    }
}

#[tokio::test]
async fn five_hundred_slow_heads_keep_nobody_out() {
    let fronts = Fronts::start().await;
    for (front, addr) in fronts.all() {
        let mut slow = Vec::new();
        for _ in 0..500 {
            let mut client = Wire::connect(addr).await;
            client.send("GET / HTTP/1.1\r\nX:").await;
            slow.push(client);
        }
        let began = Instant::now();
        assert!(fronts.seen(addr).await.is_empty());
        println!(
            "{front}: a request beside 500 slow heads took {:?}",
            began.elapsed()
        );
        assert!(began.elapsed() < Duration::from_secs(5), "{front}");
    }
}
