use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use mesh_core::error::ErrorKind;
use mesh_core::identity::SpiffeId;

use super::server::{echo, server};
use super::{call, get, pool, until};
use crate::tls::testing::Authority;
use crate::tls::{ClientTls, Expect, ServerTls, TrustRoots};
use crate::transport::{ConnInfo, PoolConfig, Protocol};

const WEB: &str = "spiffe://mesh.local/ns/shop/sa/web";
const REVIEWS: &str = "spiffe://mesh.local/ns/shop/sa/reviews";

fn reviews() -> Expect {
    Expect::Id(SpiffeId::parse(REVIEWS).expect("an id"))
}

#[tokio::test]
async fn alpn_decides_and_answers_carry_the_peer() {
    let authority = Authority::new();
    let server = server()
        .tls(ServerTls::required(&authority.credentials(REVIEWS)))
        .start(echo);
    let tls = ClientTls::new(&authority.credentials(WEB));
    for (protocol, version) in [
        (Protocol::Auto, http::Version::HTTP_2),
        (Protocol::Http1, http::Version::HTTP_11),
        (Protocol::Http2, http::Version::HTTP_2),
    ] {
        let config = PoolConfig::new(server.addr).with_protocol(protocol);
        let pool = pool(config.with_tls(tls.clone(), reviews()));
        let response = pool.call(get("/")).await.expect("an answer");
        assert_eq!(response.version(), version);
        let info = ConnInfo::of(&response).expect("connection");
        assert!(info.tls);
        assert_eq!(info.peer.as_ref().map(SpiffeId::as_str), Some(REVIEWS));
    }
}

/// Leaves and authorities change while calls run: live connections stay, new ones use the new.
#[tokio::test]
async fn rotation_under_load_loses_nothing() {
    let (old, new) = (Authority::new(), Authority::new());
    let client = old.credentials(WEB);
    let upstream = old.credentials(REVIEWS);
    let server = Arc::new(server().tls(ServerTls::required(&upstream)).start(echo));
    let config = PoolConfig::new(server.addr).with_tls(ClientTls::new(&client), reviews());
    let kept = Arc::new(pool(config.clone()));
    let (stop, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let load = tokio::spawn({
        let (kept, stop, done) = (kept.clone(), stop.clone(), done.clone());
        async move {
            while !stop.load(Relaxed) {
                call(&kept, "/kept").await.expect("no call is lost");
                // A pool of its own: a handshake for each.
                call(&pool(config.clone()), "/new")
                    .await
                    .expect("no call is lost");
                done.fetch_add(1, Relaxed);
            }
        }
    });
    let some_more = async || {
        let seen = done.load(Relaxed);
        until("more calls", || {
            done.load(Relaxed) > seen + 3 || load.is_finished()
        })
        .await;
    };
    some_more().await;
    // Leaves first, of the same authority.
    for _ in 0..10 {
        client.set_identity(old.identity(WEB));
        upstream.set_identity(old.identity(REVIEWS));
        some_more().await;
    }
    // Then the authority: trust both, change the leaves, trust the new one only.
    let both = [("mesh.local", &old.pem), ("mesh.local", &new.pem)];
    let both = TrustRoots::from_pem(both).expect("roots");
    client.set_trust(both.clone());
    upstream.set_trust(both);
    some_more().await;
    client.set_identity(new.identity(WEB));
    some_more().await;
    upstream.set_identity(new.identity(REVIEWS));
    some_more().await;
    client.set_trust(new.roots("mesh.local"));
    upstream.set_trust(new.roots("mesh.local"));
    some_more().await;
    stop.store(true, Relaxed);
    load.await.expect("no call was lost");
    assert_eq!(kept.stats().opened, 1, "the live connection stayed");
}

/// The client's handshake is done before the server has looked at its certificate: the refusal
/// meets the first call, and is named for what it is.
#[tokio::test]
async fn a_refusal_by_the_server_is_an_identity_error_of_the_call() {
    let authority = Authority::new();
    let server = server()
        .tls(ServerTls::required(&authority.credentials(REVIEWS)))
        .start(echo);
    let rogue = Authority::new();
    let credentials = authority.credentials(WEB);
    credentials.set_identity(rogue.identity(WEB));
    for protocol in [Protocol::Http1, Protocol::Http2, Protocol::Auto] {
        let config = PoolConfig::new(server.addr).with_protocol(protocol);
        let pool = pool(config.with_tls(ClientTls::new(&credentials), reviews()));
        let error = call(&pool, "/").await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Identity, "{protocol:?}: {error:#}");
        assert_eq!(error.code().to_string(), "M4003");
        assert_eq!(server.requests(), 0);
    }
}
