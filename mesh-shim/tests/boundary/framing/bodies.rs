//! Fields and chunks that say where a body ends.

use crate::common::wire::Wire;
use crate::{Fronts, ends};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// This status, and the end of the connection; the application sees nothing of it.
    Refused(u16),
    /// No answer that could be taken for one; the application sees nothing of it.
    Closed,
    /// The application sees it once, as this body.
    Passed(&'static str),
    /// The same, in the one form that can be read in one way; what follows it is a request of its own.
    Mended(&'static str),
}
use Expect::{Closed, Mended, Passed, Refused};

/// What follows `POST /case HTTP/1.1` and a Host.
const CASES: &[(&str, &str, Expect)] = &[
    ("no body", "\r\n", Passed("")),
    ("a length", "Content-Length: 3\r\n\r\nabc", Passed("abc")),
    (
        "chunks",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        Passed("abc"),
    ),
    (
        "chunks in capitals",
        "Transfer-Encoding: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        Passed("abc"),
    ),
    (
        "a chunk's extension",
        "Transfer-Encoding: chunked\r\n\r\n3;a=b;c=\"d\"\r\nabc\r\n0\r\n\r\n",
        Passed("abc"),
    ),
    // RFC 9112 6.3: a length beside chunks is an attempt at smuggling. hyper takes it out, and no
    // request that follows is read.
    (
        "CL and TE",
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
        Mended(""),
    ),
    (
        "TE and CL",
        "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nX",
        Mended(""),
    ),
    (
        "TE chunked, identity",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "TE identity",
        "Transfer-Encoding: identity\r\n\r\n",
        Refused(400),
    ),
    (
        "TE identity, chunked",
        "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    ("TE gzip", "Transfer-Encoding: gzip\r\n\r\n", Refused(400)),
    (
        "TE gzip, chunked",
        "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "TE xchunked",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "TE chunkedx",
        "Transfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "TE quoted",
        "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "TE with a vertical tab",
        "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "TE twice",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "TE chunked, then cow",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "TE cow, then chunked",
        "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    ("TE empty", "Transfer-Encoding: \r\n\r\n", Refused(400)),
    (
        "TE chunked twice in one",
        "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a space before TE's colon",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "TE behind a folded line",
        "X: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "two equal lengths",
        "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        Mended("abc"),
    ),
    (
        "two lengths",
        "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        Refused(400),
    ),
    (
        "two lengths in one field",
        "Content-Length: 3, 3\r\n\r\nabc",
        Refused(400),
    ),
    (
        "a signed length",
        "Content-Length: +3\r\n\r\nabc",
        Refused(400),
    ),
    (
        "a negative length",
        "Content-Length: -3\r\n\r\nabc",
        Refused(400),
    ),
    (
        "a hexadecimal length",
        "Content-Length: 0x3\r\n\r\nabc",
        Refused(400),
    ),
    (
        "a length with a space",
        "Content-Length: 1 2\r\n\r\nabcdefghijkl",
        Refused(400),
    ),
    (
        "an empty length",
        "Content-Length: \r\n\r\nabc",
        Refused(400),
    ),
    (
        "a length that is text",
        "Content-Length: three\r\n\r\nabc",
        Refused(400),
    ),
    (
        "a length above 64 bits",
        "Content-Length: 18446744073709551619\r\n\r\nabc",
        Refused(400),
    ),
    (
        "a space before the length's colon",
        "Content-Length : 3\r\n\r\nabc",
        Refused(400),
    ),
    ("a folded field", "X: a\r\n b\r\n\r\n", Refused(400)),
    ("a folded first field", " X: a\r\n\r\n", Refused(400)),
    (
        "a bare LF in a value",
        "X: a\nContent-Length: 3\r\n\r\nabc",
        Passed("abc"),
    ),
    ("a bare CR in a value", "X: a\rb\r\n\r\n", Refused(400)),
    (
        "a bare CR before the length",
        "X: a\rContent-Length: 3\r\n\r\nabc",
        Refused(400),
    ),
    ("a NUL in a value", "X: a\0b\r\n\r\n", Refused(400)),
    ("a NUL in a name", "X\0: a\r\n\r\n", Refused(400)),
    ("DEL in a value", "X: a\x7fb\r\n\r\n", Refused(400)),
    ("a space in a name", "X Y: a\r\n\r\n", Refused(400)),
    ("a bracket in a name", "X[]: a\r\n\r\n", Refused(400)),
    ("an empty name", ": a\r\n\r\n", Refused(400)),
    ("a line without a colon", "X\r\n\r\n", Refused(400)),
    (
        "a chunk's size with a sign",
        "Transfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n",
        Closed,
    ),
    (
        "a chunk's size with 0x",
        "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
        Closed,
    ),
    (
        "a chunk's size above 64 bits",
        "Transfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n",
        Closed,
    ),
    (
        "a chunk without a size",
        "Transfer-Encoding: chunked\r\n\r\n\r\nabc\r\n0\r\n\r\n",
        Closed,
    ),
    (
        "a chunk without its end",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        Closed,
    ),
    (
        "a bare LF after a chunk's size",
        "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
        Closed,
    ),
    (
        "a bare CR in a chunk's extension",
        "Transfer-Encoding: chunked\r\n\r\n3;a\rb\r\nabc\r\n0\r\n\r\n",
        Closed,
    ),
    (
        "a bare LF in a chunk's extension",
        "Transfer-Encoding: chunked\r\n\r\n3;a\nb\r\nabc\r\n0\r\n\r\n",
        Closed,
    ),
];

#[tokio::test]
async fn a_request_that_two_could_read_differently_is_not_passed_on() {
    let fronts = Fronts::start().await;
    let mut bad = Vec::new();
    for (front, addr) in fronts.all() {
        for (name, rest, expect) in CASES {
            let mut client = Wire::connect(addr).await;
            // What hides behind it would be a request of its own.
            let hidden = "GET /hidden HTTP/1.1\r\nHost: app.shop\r\n\r\n";
            let hides = !matches!(expect, Passed(_));
            let sent = format!(
                "POST /case HTTP/1.1\r\nHost: app.shop\r\n{rest}{}",
                if hides { hidden } else { "" }
            );
            client.send(&sent).await;
            let answer = client.try_answer().await;
            let status = answer.as_ref().map(|answer| answer.head.status());
            let seen = fronts.seen(addr).await;
            let whole: Vec<_> = seen.iter().filter(|seen| seen.whole).collect();
            let fine = match expect {
                Refused(expected) => {
                    let ended = ends(&mut client).await;
                    status == Some(*expected) && ended && seen.is_empty()
                }
                Closed => {
                    let ended = ends(&mut client).await;
                    matches!(status, None | Some(400 | 502)) && ended && whole.is_empty()
                }
                Mended(body) => {
                    let fields = |name| seen.first().map_or(0, |seen| seen.head.all(name).len());
                    let framed = fields("content-length") + fields("transfer-encoding") == 1;
                    let lines: Vec<_> = seen.iter().map(|seen| &*seen.head.line).collect();
                    let own = ["POST /case HTTP/1.1", "GET /hidden HTTP/1.1"];
                    framed
                        && status == Some(200)
                        && whole.first().is_some_and(|seen| seen.text() == *body)
                        && (lines == own[..1] || lines == own)
                }
                Passed(body) => status == Some(200) && whole.len() == 1 && whole[0].text() == *body,
            };
            if !fine {
                let lines: Vec<_> = seen
                    .iter()
                    .map(|seen| (&seen.head.line, &seen.head.fields, seen.text(), seen.whole))
                    .collect();
                bad.push(format!("{front}: {name}: expected {expect:?}, got {status:?}, the application saw {lines:?}"));
            }
        }
    }
    println!("{} cases at {} fronts", CASES.len(), fronts.all().len());
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}
