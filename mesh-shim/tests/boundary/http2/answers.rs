//! An application of HTTP/2 that answers with DATA before HEADERS, or with a body longer than it said.

use crate::common::app::RawApp;
use crate::common::pair::{Hop, Setup};
use crate::common::wire::Wire;
use crate::frames::*;

#[tokio::test]
async fn an_applications_bad_frames_cost_one_answer() {
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
