//! The first line, and the host.

use crate::common::wire::Wire;
use crate::{Fronts, ends};

/// Whole requests' lines and hosts.
const LINES: &[(&str, &str, u16)] = &[
    ("HTTP/0.9", "GET /case\r\n\r\n", 400),
    (
        "HTTP/3.7",
        "GET /case HTTP/3.7\r\nHost: app.shop\r\n\r\n",
        400,
    ),
    (
        "HTTP/1.2",
        "GET /case HTTP/1.2\r\nHost: app.shop\r\n\r\n",
        400,
    ),
    (
        "HTTP/2.0 in text",
        "GET /case HTTP/2.0\r\nHost: app.shop\r\n\r\n",
        400,
    ),
    (
        "a lower-case version",
        "GET /case http/1.1\r\nHost: app.shop\r\n\r\n",
        400,
    ),
    (
        "two spaces",
        "GET  /case HTTP/1.1\r\nHost: app.shop\r\n\r\n",
        400,
    ),
    (
        "a tab",
        "GET\t/case HTTP/1.1\r\nHost: app.shop\r\n\r\n",
        400,
    ),
    (
        "a space in the target",
        "GET /case x HTTP/1.1\r\nHost: app.shop\r\n\r\n",
        400,
    ),
    (
        "a control byte in the target",
        "GET /ca\x01se HTTP/1.1\r\nHost: app.shop\r\n\r\n",
        400,
    ),
    (
        "a bracket in the method",
        "G[T /case HTTP/1.1\r\nHost: app.shop\r\n\r\n",
        400,
    ),
    ("no target", "GET HTTP/1.1\r\nHost: app.shop\r\n\r\n", 400),
    (
        "no slash",
        "GET case HTTP/1.1\r\nHost: app.shop\r\n\r\n",
        400,
    ),
    (
        "authority form",
        "GET app.shop:80 HTTP/1.1\r\nHost: app.shop\r\n\r\n",
        400,
    ),
    (
        "a star without OPTIONS",
        "GET * HTTP/1.1\r\nHost: app.shop\r\n\r\n",
        400,
    ),
    ("no Host", "GET /case HTTP/1.1\r\n\r\n", 400),
    (
        "two Hosts",
        "GET /case HTTP/1.1\r\nHost: app.shop\r\nHost: app.shop\r\n\r\n",
        400,
    ),
    (
        "two other Hosts",
        "GET /case HTTP/1.1\r\nHost: app.shop\r\nHost: other\r\n\r\n",
        400,
    ),
    (
        "a Host with a space",
        "GET /case HTTP/1.1\r\nHost: app shop\r\n\r\n",
        400,
    ),
    (
        "a Host with a path",
        "GET /case HTTP/1.1\r\nHost: app.shop/x\r\n\r\n",
        400,
    ),
    (
        "a Host with a user",
        "GET /case HTTP/1.1\r\nHost: u@app.shop\r\n\r\n",
        400,
    ),
    (
        "a Host with two ports",
        "GET /case HTTP/1.1\r\nHost: app.shop:80:90\r\n\r\n",
        400,
    ),
    (
        "a Host with a bad port",
        "GET /case HTTP/1.1\r\nHost: app.shop:x\r\n\r\n",
        400,
    ),
    (
        "a user in an absolute target",
        "GET http://u:p@app.shop/case HTTP/1.1\r\nHost: app.shop\r\n\r\n",
        400,
    ),
    (
        "another scheme",
        "GET ftp://app.shop/case HTTP/1.1\r\nHost: app.shop\r\n\r\n",
        400,
    ),
    (
        "https in the clear",
        "GET https://app.shop/case HTTP/1.1\r\nHost: app.shop\r\n\r\n",
        400,
    ),
];

#[tokio::test]
async fn a_line_or_host_that_is_none_is_refused() {
    let fronts = Fronts::start().await;
    let mut bad = Vec::new();
    for (front, addr) in fronts.all() {
        for (name, sent, expected) in LINES {
            // At an origin, both schemes are its own.
            let is_server = front == "inbound" || front == "ingress";
            let own_scheme = is_server && *name == "https in the clear";
            let mut client = Wire::connect(addr).await;
            client.send(sent).await;
            let status = client.try_answer().await.map(|answer| answer.head.status());
            let seen = fronts.seen(addr).await;
            let fine = match own_scheme {
                true => status == Some(200),
                false => status == Some(*expected) && seen.is_empty() && ends(&mut client).await,
            };
            if !fine {
                let lines: Vec<_> = seen.iter().map(|seen| &seen.head).collect();
                bad.push(format!(
                    "{front}: {name}: got {status:?}, the application saw {lines:?}"
                ));
            }
        }
    }
    println!("{} cases at {} fronts", LINES.len(), fronts.all().len());
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}
