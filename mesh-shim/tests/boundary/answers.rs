//! What an application may not say. The client gets a 502 or an answer that is visibly cut, never one
//! that could be taken for whole, and never bytes of another answer.

use crate::Fronts;
use crate::common::app::Say;
use crate::common::wire::{Message, Wire};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// Not passed on: a 502.
    Bad,
    /// Begun, and cut: a body that is not whole, or an end without an answer, or a 502.
    Cut,
    /// This status and body.
    Passed(u16, &'static str),
}
use Expect::{Bad, Cut, Passed};

const CASES: &[(&str, &str, Expect)] = &[
    (
        "fine",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        Passed(200, "ok"),
    ),
    (
        "two lengths",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
        Bad,
    ),
    (
        "two lengths in one",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok!",
        Bad,
    ),
    (
        "a length that is none",
        "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok",
        Bad,
    ),
    (
        "a signed length",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        Bad,
    ),
    (
        "a negative length",
        "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
        Bad,
    ),
    (
        "a length above 64 bits",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551618\r\n\r\nok",
        Bad,
    ),
    (
        "a length and chunks",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        Passed(200, "ok"),
    ),
    (
        "a folded field",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
        Bad,
    ),
    (
        "a space before the colon",
        "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
        Bad,
    ),
    (
        "a NUL in a value",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nok",
        Bad,
    ),
    (
        "a bare CR in a value",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\nok",
        Bad,
    ),
    (
        "switched unasked",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nbytes",
        Bad,
    ),
    (
        "status 99",
        "HTTP/1.1 099 What\r\nContent-Length: 2\r\n\r\nok",
        Bad,
    ),
    (
        "status 600",
        "HTTP/1.1 600 What\r\nContent-Length: 2\r\n\r\nok",
        Bad,
    ),
    (
        "status 999",
        "HTTP/1.1 999 What\r\nContent-Length: 2\r\n\r\nok",
        Bad,
    ),
    (
        "status 20",
        "HTTP/1.1 20 What\r\nContent-Length: 2\r\n\r\nok",
        Bad,
    ),
    (
        "status abc",
        "HTTP/1.1 abc What\r\nContent-Length: 2\r\n\r\nok",
        Bad,
    ),
    (
        "status 299",
        "HTTP/1.1 299 Custom\r\nContent-Length: 2\r\n\r\nok",
        Passed(299, "ok"),
    ),
    ("HTTP/0.9", "just bytes", Bad),
    (
        "HTTP/3.7",
        "HTTP/3.7 200 OK\r\nContent-Length: 2\r\n\r\nok",
        Bad,
    ),
    ("another protocol", "SSH-2.0-OpenSSH_9.2\r\n", Bad),
    ("nothing", "", Bad),
    ("half a head", "HTTP/1.1 200 OK\r\nContent-Le", Bad),
    (
        "less than its length",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok",
        Cut,
    ),
    (
        "chunks without an end",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        Cut,
    ),
    (
        "half a chunk",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nok",
        Cut,
    ),
    (
        "no last line after chunks",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
        Cut,
    ),
    (
        "a bad chunk",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n",
        Cut,
    ),
    (
        "more than its length",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        Passed(200, "ok"),
    ),
    (
        "a body after 204",
        "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        Passed(204, ""),
    ),
    (
        "a body after 304",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil",
        Passed(304, ""),
    ),
    (
        "early hints first",
        "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        Passed(200, "ok"),
    ),
    (
        "its own hop's fields",
        "HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nok",
        Passed(200, "ok"),
    ),
];

fn say(request: &Message) -> Say {
    let number = request.head.line.split(['/', ' ']).nth(2);
    match number.and_then(|number| number.parse::<usize>().ok()) {
        // After what may be passed on the connection stays: its end could meet the next request,
        // and what is left on it must not become that one's answer.
        Some(case) => {
            let (_, bytes, expect) = CASES[case];
            (bytes.as_bytes().to_vec(), !matches!(expect, Passed(..)))
        }
        None => crate::common::app::ok(),
    }
}

#[tokio::test]
async fn an_answer_that_is_none_is_not_passed_on() {
    let fronts = Fronts::answering(say).await;
    let mut bad = Vec::new();
    for (front, addr) in fronts.all() {
        for (case, (name, _, expect)) in CASES.iter().enumerate() {
            let mut client = Wire::connect(addr).await;
            client
                .send(format!("GET /{case} HTTP/1.1\r\nHost: app.shop\r\n\r\n"))
                .await;
            let got = client.try_answer().await;
            let status = got.as_ref().map(|got| got.head.status());
            let whole = got.as_ref().is_some_and(|got| got.whole);
            let text = got.as_ref().map(Message::text).unwrap_or_default();
            let hop = ["x-hop", "keep-alive", "proxy-authenticate"];
            let leaks = got
                .as_ref()
                .is_some_and(|got| hop.iter().any(|name| got.head.get(name).is_some()));
            let fine = match expect {
                Bad => status == Some(502),
                Cut => matches!(status, None | Some(502)) || !whole,
                Passed(expected, body) => status == Some(*expected) && whole && text == *body,
            };
            // Nothing of it is left for who comes next.
            let seen = fronts.seen(addr).await;
            if !fine || leaks || seen.is_empty() || text.contains("evil") {
                bad.push(format!("{front}: {name}: expected {expect:?}, got {got:?}"));
            }
        }
    }
    println!("{} answers at {} fronts", CASES.len(), fronts.all().len());
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[tokio::test]
async fn an_answer_without_measure_is_bounded() {
    let long = "x".repeat(1 << 20);
    let fields: String = (0..300).map(|n| format!("X-{n}: 1\r\n")).collect();
    let heads = [
        format!("HTTP/1.1 200 OK\r\nX: {long}\r\nContent-Length: 2\r\n\r\nok"),
        format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok"),
        format!("HTTP/1.1 200 {long}\r\nContent-Length: 2\r\n\r\nok"),
    ];
    let all = heads.clone();
    let fronts = Fronts::answering(move |request| {
        let number = request.head.line.split(['/', ' ']).nth(2);
        match number.and_then(|number| number.parse::<usize>().ok()) {
            Some(case) => (all[case].clone().into_bytes(), true),
            None => crate::common::app::ok(),
        }
    })
    .await;
    for (front, addr) in fronts.all() {
        for case in 0..heads.len() {
            let mut client = Wire::connect(addr).await;
            let sent = format!("GET /{case} HTTP/1.1\r\nHost: app.shop\r\n\r\n");
            client.send(sent).await;
            let status = client.try_answer().await.map(|got| got.head.status());
            println!("{front}: head {case}: {status:?}");
            assert_eq!(status, Some(502), "{front}: {case}");
        }
    }
}
