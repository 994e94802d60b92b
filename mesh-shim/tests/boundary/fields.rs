//! Fields of one hop, fields that say who somebody is, and fields that only the mesh may set.

use crate::Fronts;
use crate::common::app::{Recorder, ok};
use crate::common::pair::{Hop, Pair, Setup};
use crate::common::wire::Wire;

/// What is sent, what the application must have of it (name and value), and what it must not have.
type Case = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
);

const CASES: &[Case] = &[
    (
        "Connection names a field",
        "Connection: close, X-Secret\r\nX-Secret: 1\r\nX-Kept: 1\r\n",
        &[("x-kept", "1")],
        &["connection", "x-secret"],
    ),
    (
        "Connection names Host",
        "Connection: host\r\n",
        &[("host", "app.shop")],
        &["connection"],
    ),
    (
        "Connection names the length",
        "Connection: content-length\r\n",
        &[("content-length", "0")],
        &["connection"],
    ),
    (
        "Connection names fields of the mesh",
        "Connection: x-mesh-attempt, mesh-reason\r\nx-mesh-attempt: 1\r\n",
        &[("x-mesh-attempt", "1")],
        &["connection"],
    ),
    (
        "keep-alive and proxy-connection",
        "Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n",
        &[],
        &["keep-alive", "proxy-connection"],
    ),
    (
        "proxy credentials",
        "Proxy-Authorization: Basic x\r\n",
        &[],
        &["proxy-authorization"],
    ),
    (
        "credentials for the application",
        "Authorization: Basic x\r\n",
        &[("authorization", "Basic x")],
        &[],
    ),
    (
        "h2c",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        &[],
        &["upgrade", "http2-settings", "connection"],
    ),
    (
        "TE gzip",
        "TE: gzip\r\nConnection: TE\r\n",
        &[],
        &["te", "connection"],
    ),
    (
        "TE trailers",
        "TE: gzip, trailers\r\nConnection: TE\r\n",
        &[("te", "trailers")],
        &["connection"],
    ),
    (
        "Max-Forwards",
        "Max-Forwards: 5\r\n",
        &[("max-forwards", "5")],
        &[],
    ),
];

#[tokio::test]
async fn fields_of_one_connection_stay_there() {
    let fronts = Fronts::start().await;
    let mut bad = Vec::new();
    for (front, addr) in fronts.all() {
        for (name, fields, has, lacks) in CASES {
            let mut client = Wire::connect(addr).await;
            let sent = format!(
                "POST /case HTTP/1.1\r\nHost: app.shop\r\nContent-Length: 0\r\n{fields}\r\n"
            );
            client.send(sent).await;
            let status = client.answer().await.head.status();
            let seen = fronts.seen(addr).await;
            let head = seen.first().map(|seen| seen.head.clone());
            let fine = head.as_ref().is_some_and(|head| {
                // Nobody outside says what is the mesh's.
                let kept = |name: &str| front != "ingress" || !name.starts_with("x-mesh-");
                let has = has.iter().filter(|(name, _)| kept(name));
                let has = { has }.all(|(name, value)| head.all(name) == [*value]);
                let lacks = lacks.iter().all(|name| head.get(name).is_none());
                has && lacks && seen.len() == 1
            });
            if status != 200 || !fine {
                bad.push(format!("{front}: {name}: {status}, {head:?}"));
            }
        }
    }
    println!("{} cases at 4 fronts", CASES.len());
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[tokio::test]
async fn trailers_do_not_change_what_the_head_has_said() {
    let fronts = Fronts::start().await;
    let names = [
        "content-length",
        "host",
        "transfer-encoding",
        "authorization",
        "connection",
        "te",
        "upgrade",
        "trailer",
    ];
    for (front, addr) in fronts.all() {
        for name in names {
            let mut client = Wire::connect(addr).await;
            let sent = format!(
                "POST /case HTTP/1.1\r\nHost: app.shop\r\nTransfer-Encoding: chunked\r\nTrailer: {name}\r\n\r\n\
                 1\r\na\r\n0\r\n{name}: 7\r\n\r\n"
            );
            client.send(sent).await;
            let status = client.try_answer().await.map(|got| got.head.status());
            let seen = fronts.seen(addr).await;
            let leaked = seen
                .iter()
                .any(|seen| seen.trailers.iter().any(|(found, _)| found == name));
            let doubled = seen
                .iter()
                .any(|seen| seen.head.all("host") != ["app.shop"]);
            println!("{front}: trailer {name}: {status:?}, {} seen", seen.len());
            assert!(!leaked && !doubled, "{front}: {name}: {seen:?}");
        }
    }
}

/// What a client says of those before it, and of who it is.
const SAYS: &str = "Forwarded: for=9.9.9.9\r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: outside\r\n\
                    X-Real-IP: 9.9.9.9\r\nX-Forwarded-Client-Cert: URI=spiffe://evil\r\nClient-Cert: :AA:\r\n";

#[tokio::test]
async fn only_a_verified_peer_says_who_came_before_and_nobody_who_it_is() {
    for told in [false, true] {
        let setup = Setup {
            flags: if told {
                vec!["--forwarded"]
            } else {
                Vec::new()
            },
            ..Setup::default()
        };
        let app = Recorder::new(|_| ok()).await;
        let hop = Hop::start(app.addr, setup.clone()).await;
        let pair = Pair::start(app.addr, setup).await;
        // A stranger's word counts for nothing; a peer of the mesh hands on what its application says.
        for (name, front, verified) in [
            ("inbound", hop.front(), false),
            ("port", pair.front(), true),
        ] {
            let mut client = Wire::connect(front).await;
            let sent = format!("GET /case HTTP/1.1\r\nHost: app.shop\r\n{SAYS}\r\n");
            client.send(sent).await;
            assert_eq!(client.answer().await.head.status(), 200, "{name}");
            let seen = app.take().remove(0).head;
            println!("{name}, told {told}: {:?}", seen.fields);
            for identity in ["x-forwarded-client-cert", "client-cert"] {
                assert_eq!(seen.get(identity), None, "{name}");
            }
            assert_eq!(seen.get("x-real-ip").is_some(), verified, "{name}");
            let expected = match (verified, told) {
                (false, false) => None,
                (false, true) => Some("127.0.0.1"),
                (true, false) => Some("9.9.9.9"),
                (true, true) => Some("9.9.9.9, 127.0.0.1"),
            };
            assert_eq!(seen.get("x-forwarded-for"), expected, "{name}");
            let proto = match (verified, told) {
                (true, _) => Some("https"),
                (false, true) => Some("http"),
                (false, false) => None,
            };
            assert_eq!(seen.get("x-forwarded-proto"), proto, "{name}");
            let forwarded = seen.get("forwarded").map(|value| value.contains("9.9.9.9"));
            assert_eq!(forwarded, (verified || told).then_some(verified), "{name}");
            let via = seen.get("via");
            assert_eq!(
                via.is_some_and(|via| via.contains("mesh")),
                told,
                "{name}: {via:?}"
            );
        }
    }
}
