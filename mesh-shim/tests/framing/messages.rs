//! What a message is made of.

use crate::common::app::{Recorder, ok};
use crate::common::pair::{Hop, Pair, Setup};
use crate::common::wire::{Kind, Wire};
use crate::each_way;

/// Sends one request, gives what the application saw and what the client got.
macro_rules! exchange {
    ($app:expr, $way:expr, $sent:expr, $answered:expr) => {
        exchange!($app, $way, $sent, $answered, Kind::Answer)
    };
    ($app:expr, $way:expr, $sent:expr, $answered:expr, $kind:expr) => {{
        let mut client = Wire::connect($way.front()).await;
        client.send($sent).await;
        let mut served = $app.accept().await;
        let seen = served.request().await;
        served.send($answered).await;
        let head = client.head().await;
        let got = client.rest(head, $kind).await;
        (seen, got, client, served)
    }};
}

#[tokio::test]
async fn chunks_go_both_ways_and_trailers_with_them() {
    for (app, way) in each_way().await {
        let sent = "POST /up HTTP/1.1\r\nHost: app.shop\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\
                    Trailer: x-sum, x-two\r\n\r\n3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\nX-Sum: 7\r\nX-Two: a\r\n\r\n";
        let answered = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-end\r\n\r\n\
                        2\r\nhi\r\n5\r\nthere\r\n0\r\nX-End: 1\r\n\r\n";
        let (seen, got, ..) = exchange!(app, way, sent, answered);
        let name = way.name();
        assert_eq!(seen.text(), "abcdefg", "{name}");
        assert_eq!(
            seen.head.get("transfer-encoding"),
            Some("chunked"),
            "{name}"
        );
        assert_eq!(seen.head.get("content-length"), None, "{name}");
        let mut trailers = seen.trailers.clone();
        trailers.sort();
        assert_eq!(
            trailers,
            [("x-sum".into(), "7".into()), ("x-two".into(), "a".into())],
            "{name}"
        );
        assert_eq!(got.text(), "hithere", "{name}");
        assert_eq!(got.trailers, [("x-end".into(), "1".into())], "{name}");
        assert_eq!(got.head.get("content-length"), None, "{name}");
    }
}

#[tokio::test]
async fn answers_without_a_body_keep_their_length() {
    for (app, way) in each_way().await {
        for (method, answered, length, kind) in [
            (
                "HEAD",
                "200 OK\r\nContent-Length: 1234\r\n",
                Some("1234"),
                Kind::HeadOnly,
            ),
            ("GET", "204 No Content\r\n", None, Kind::Answer),
            (
                "GET",
                "304 Not Modified\r\nContent-Length: 99\r\nETag: \"a\"\r\n",
                Some("99"),
                Kind::Answer,
            ),
            (
                "GET",
                "200 OK\r\nContent-Length: 0\r\n",
                Some("0"),
                Kind::Answer,
            ),
            (
                "HEAD",
                "200 OK\r\nTransfer-Encoding: chunked\r\n",
                None,
                Kind::HeadOnly,
            ),
        ] {
            let sent = format!("{method} /x HTTP/1.1\r\nHost: app.shop\r\n\r\n");
            let answered = format!("HTTP/1.1 {answered}\r\n");
            let (seen, got, mut client, served) = exchange!(app, way, sent, &answered, kind);
            let name = format!("{}: {method} {answered}", way.name());
            assert!(seen.head.line.starts_with(method), "{name}");
            assert_eq!(got.head.get("content-length"), length, "{name}");
            assert_eq!(got.body, b"", "{name}");
            // Nothing was made up: the next answer comes right after.
            client
                .send("GET /next HTTP/1.1\r\nHost: app.shop\r\n\r\n")
                .await;
            let mut served = app.next(served).await;
            let seen = served.request().await;
            assert_eq!(seen.head.line, "GET /next HTTP/1.1", "{name}");
            served
                .send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nn")
                .await;
            assert_eq!(client.answer().await.text(), "n", "{name}");
            // The next request must not go to a connection that is about to be found closed.
            served.shut().await;
            let _ = served.until_end().await;
        }
    }
}

#[tokio::test]
async fn targets_are_passed_on_byte_by_byte() {
    let app = Recorder::new(|_| ok()).await;
    let hop = Hop::start(app.addr, Setup::default()).await;
    let pair = Pair::start(app.addr, Setup::default()).await;
    for (name, front) in [("one shim", hop.front()), ("two shims", pair.front())] {
        let mut client = Wire::connect(front).await;
        for target in [
            "/",
            "/a%2Fb",
            "/a%2fb/../c/./d",
            "//x//y",
            "/?",
            "/x?",
            "/x?a=b&c=%20%ff",
            "/x?a?b/c",
            "/%00",
            "/~!$&'()*+,;=:@",
            "/a|b{}~",
            "/;a=1",
        ] {
            let sent = format!("GET {target} HTTP/1.1\r\nHost: app.shop\r\n\r\n");
            client.send(sent).await;
            assert_eq!(client.answer().await.head.status(), 200, "{name}: {target}");
            let seen = app.take();
            assert_eq!(
                seen[0].head.line,
                format!("GET {target} HTTP/1.1"),
                "{name}"
            );
        }
        client
            .send("OPTIONS * HTTP/1.1\r\nHost: app.shop\r\n\r\n")
            .await;
        assert_eq!(client.answer().await.head.status(), 200, "{name}: *");
        assert_eq!(app.take()[0].head.line, "OPTIONS * HTTP/1.1", "{name}");
    }
}

#[tokio::test]
async fn methods_and_hosts_are_the_clients_own() {
    let app = Recorder::new(|_| ok()).await;
    let hop = Hop::start(app.addr, Setup::default()).await;
    let pair = Pair::start(app.addr, Setup::default()).await;
    for (name, front) in [("one shim", hop.front()), ("two shims", pair.proxy())] {
        let mut client = Wire::connect(front).await;
        for method in ["PURGE", "M-SEARCH", "PROPFIND", "x!#$%&'*+-.^_`|~", "get"] {
            let sent = format!("{method} /m HTTP/1.1\r\nHost: app.shop:8080\r\n\r\n");
            client.send(sent).await;
            let got = client.answer().await;
            assert_eq!(got.head.status(), 200, "{name}: {method}");
            let seen = app.take().remove(0).head;
            assert_eq!(seen.line, format!("{method} /m HTTP/1.1"), "{name}");
            assert_eq!(seen.all("host"), ["app.shop:8080"], "{name}");
        }
    }
}

#[tokio::test]
async fn fields_keep_their_order_and_their_repetitions() {
    for (app, way) in each_way().await {
        let sent = "GET / HTTP/1.1\r\nHost: app.shop\r\nX-B: 1\r\nX-A: 2\r\nX-B: 3\r\nCookie: a=1\r\nX-Raw: \x7e \t\u{e9}\r\nX-Empty:\r\n\r\n";
        let answered = "HTTP/1.1 200 Fine By Me\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\nX-Z: 1\r\nX-Y: 2\r\n\
                        Set-Cookie: c=3\r\nContent-Length: 0\r\n\r\n";
        let (seen, got, ..) = exchange!(app, way, sent, answered);
        let name = way.name();
        assert_eq!(seen.head.all("x-b"), ["1", "3"], "{name}");
        assert_eq!(seen.head.all("x-raw"), ["~ \t\u{e9}"], "{name}");
        assert_eq!(seen.head.all("x-empty"), [""], "{name}");
        let cookies = got.head.all("set-cookie");
        assert_eq!(cookies, ["a=1; Path=/", "b=2", "c=3"], "{name}");
        let names: Vec<_> = got
            .head
            .fields
            .iter()
            .map(|field| field.0.to_ascii_lowercase())
            .collect();
        let at = |name: &str| names.iter().position(|found| found == name);
        assert!(at("x-z") < at("x-y"), "{name}: {names:?}");
    }
}

#[tokio::test]
async fn old_clients_and_old_applications_are_served() {
    for (app, way) in each_way().await {
        let name = way.name();
        // A client of HTTP/1.0 cannot read chunks: the end of the connection ends the answer.
        let sent = "GET /old HTTP/1.0\r\nHost: app.shop\r\n\r\n";
        let answered = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        let (seen, got, _client, served) = exchange!(app, way, sent, answered);
        assert_eq!(seen.head.line, "GET /old HTTP/1.1", "{name}");
        assert_eq!(got.head.get("transfer-encoding"), None, "{name}");
        assert_eq!((got.text().as_str(), got.whole), ("abc", true), "{name}");

        let sent = "GET /keep HTTP/1.0\r\nHost: app.shop\r\nConnection: keep-alive\r\n\r\n";
        let answered = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nk";
        let mut client = Wire::connect(way.front()).await;
        println!("{name}: step 1");
        client.send(sent).await;
        let mut served = app.next(served).await;
        served.request().await;
        served.send(answered).await;
        let got = client.answer().await;
        assert_eq!(got.text(), "k", "{name}");
        assert_eq!(got.head.get("connection"), Some("keep-alive"), "{name}");
        client
            .send("GET /close HTTP/1.0\r\nHost: app.shop\r\n\r\n")
            .await;
        let mut served = app.next(served).await;
        let seen = served.request().await;
        assert_eq!(seen.head.line, "GET /close HTTP/1.1", "{name}");
        served.send(answered).await;
        client.answer().await;
        assert_eq!(client.until_end().await, (Vec::new(), true), "{name}");

        // An application of HTTP/1.0: no length, and the end is the end.
        let mut client = Wire::connect(way.front()).await;
        println!("{name}: step 2");
        client
            .send("GET /app HTTP/1.1\r\nHost: app.shop\r\n\r\n")
            .await;
        let mut served = app.next(served).await;
        served.request().await;
        served
            .send("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nall of it")
            .await;
        drop(served);
        let got = client.answer().await;
        assert_eq!(
            (got.text().as_str(), got.whole),
            ("all of it", true),
            "{name}"
        );
        // The client's connection is not the application's.
        println!("{name}: step 3");
        client
            .send("GET /again HTTP/1.1\r\nHost: app.shop\r\n\r\n")
            .await;
        let mut served = app.accept().await;
        served.request().await;
        served.send("HTTP/1.0 200 OK\r\n\r\n").await;
        drop(served);
        assert_eq!(client.answer().await.head.status(), 200, "{name}");
    }
}

/// hyper drops trailers that the head has not named, and forgot to end the message then.
#[tokio::test]
async fn trailers_that_nobody_announced_end_the_message_all_the_same() {
    for (app, way) in each_way().await {
        let name = way.name();
        let sent = "POST /up HTTP/1.1\r\nHost: app.shop\r\nTransfer-Encoding: chunked\r\n\r\n\
                    3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n";
        let answered = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: cache-control\r\n\r\n\
                        2\r\nhi\r\n0\r\nCache-Control: x\r\nX-End: 1\r\n\r\n";
        let (seen, got, ..) = exchange!(app, way, sent, answered);
        assert_eq!((seen.text().as_str(), seen.whole), ("abc", true), "{name}");
        assert_eq!((got.text().as_str(), got.whole), ("hi", true), "{name}");
    }
}
