use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use mesh_core::error::MeshError;
use mesh_core::identity::SpiffeId;
use mesh_core::policy::model::TlsVersion;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType,
    date_time_ymd,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::testing::{Authority, Leaf, connect_tls12};
use super::*;

const WEB: &str = "spiffe://mesh.local/ns/shop/sa/web";
const REVIEWS: &str = "spiffe://mesh.local/ns/shop/sa/reviews";

fn id(text: &str) -> Expect {
    Expect::Id(SpiffeId::parse(text).expect("an id"))
}

/// Both ends of a handshake over an in-memory pipe.
async fn shake(
    client: &ClientTls,
    expect: &Expect,
    server: &ServerTls,
) -> (Result<Connected, MeshError>, Result<Accepted, MeshError>) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
    tokio::join!(
        client.connect(Box::new(near), host, expect, Alpn::Both),
        server.accept(Box::new(far))
    )
}

/// Leaves that must be refused, why, and with which code.
fn bad_leaves(authority: &Authority) -> Vec<(&'static str, &'static str, Leaf)> {
    let one = &[REVIEWS][..];
    let rogue = Authority::new();
    let leaf = |edit: &dyn Fn(&mut CertificateParams)| authority.leaf(one, |p| edit(p));
    vec![
        (
            "wrong trust domain",
            "M4003",
            authority.leaf(&["spiffe://other.org/ns/shop/sa/reviews"], |_| {}),
        ),
        (
            "two URI names",
            "M4003",
            authority.leaf(&[REVIEWS, WEB], |_| {}),
        ),
        (
            "no URI name",
            "M4003",
            authority.leaf(&[], |p| {
                p.subject_alt_names = vec![SanType::DnsName("reviews".try_into().expect("a name"))];
            }),
        ),
        (
            "not an identity",
            "M4003",
            authority.leaf(&["https://mesh.local/x"], |_| {}),
        ),
        (
            "no path",
            "M4003",
            authority.leaf(&["spiffe://mesh.local"], |_| {}),
        ),
        (
            "an authority as a leaf",
            "M4003",
            leaf(&|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        ),
        (
            "keyCertSign",
            "M4003",
            leaf(&|p| p.key_usages.push(KeyUsagePurpose::KeyCertSign)),
        ),
        (
            "cRLSign",
            "M4003",
            leaf(&|p| p.key_usages.push(KeyUsagePurpose::CrlSign)),
        ),
        ("no key usage", "M4003", leaf(&|p| p.key_usages.clear())),
        (
            "no digitalSignature",
            "M4003",
            leaf(&|p| p.key_usages = vec![KeyUsagePurpose::KeyAgreement]),
        ),
        (
            "half an extended key usage",
            "M4003",
            leaf(&|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
        ),
        (
            "expired",
            "M4004",
            leaf(&|p| p.not_after = date_time_ymd(2020, 1, 1)),
        ),
        (
            "not yet valid",
            "M4004",
            leaf(&|p| p.not_before = date_time_ymd(2999, 1, 1)),
        ),
        ("a rogue authority", "M4003", rogue.leaf(one, |_| {})),
    ]
}

#[tokio::test]
async fn the_right_identities_are_accepted_on_both_sides() {
    let authority = Authority::new();
    let client = ClientTls::new(&authority.credentials(WEB));
    let server = ServerTls::required(&authority.credentials(REVIEWS));
    for expect in [
        id(REVIEWS),
        Expect::Any,
        Expect::Name("reviews.shop".to_owned()),
    ] {
        let (connected, accepted) = shake(&client, &expect, &server).await;
        let (mut connected, mut accepted) = (connected.expect("client"), accepted.expect("server"));
        assert_eq!(connected.peer.as_ref().map(SpiffeId::as_str), Some(REVIEWS));
        assert_eq!(accepted.peer.as_ref().map(SpiffeId::as_str), Some(WEB));
        assert!(connected.h2);
        assert_eq!(accepted.alpn.as_deref(), Some(&b"h2"[..]));
        connected.io.write_all(b"hello").await.expect("written");
        connected.io.flush().await.expect("flushed");
        let mut read = [0; 5];
        accepted.io.read_exact(&mut read).await.expect("read");
        assert_eq!(&read, b"hello");
    }
}

#[tokio::test]
async fn clients_refuse_bad_servers() {
    let authority = Authority::new();
    let client = ClientTls::new(&authority.credentials(WEB));
    for (why, code, leaf) in bad_leaves(&authority) {
        let credentials = authority.credentials(REVIEWS);
        credentials.set_identity(Identity::unchecked(&leaf.chain, &leaf.key));
        let (connected, accepted) =
            shake(&client, &Expect::Any, &ServerTls::required(&credentials)).await;
        let error = connected.expect_err(why);
        assert_eq!(error.code().to_string(), code, "{why}: {error}");
        // The refused end hears of it too.
        let told = accepted.expect_err(why);
        assert!(
            ["M4003", "M4004"].contains(&&*told.code().to_string()),
            "{why}: {told}"
        );
    }
}

#[tokio::test]
async fn servers_refuse_bad_clients() {
    let authority = Authority::new();
    let reviews = authority.credentials(REVIEWS);
    for server in [ServerTls::required(&reviews), ServerTls::optional(&reviews)] {
        for (why, code, leaf) in bad_leaves(&authority) {
            let credentials = authority.credentials(WEB);
            credentials.set_identity(Identity::unchecked(&leaf.chain, &leaf.key));
            let (connected, accepted) =
                shake(&ClientTls::new(&credentials), &id(REVIEWS), &server).await;
            let error = accepted.expect_err(why);
            assert_eq!(error.code().to_string(), code, "{why}: {error}");
            // With TLS 1.3 the client hears of it at its first read.
            let mut io = connected.expect("its side is done").io;
            let error = io.read_u8().await.expect_err(why);
            let told = TlsFailure::of_io(&error).code().to_string();
            assert!(["M4003", "M4004"].contains(&&*told), "{why}: {error}");
        }
    }
}

#[tokio::test]
async fn another_identity_than_expected_is_refused() {
    let authority = Authority::new();
    let client = ClientTls::new(&authority.credentials(WEB));
    let server = ServerTls::required(&authority.credentials(REVIEWS));
    for expected in [
        WEB,
        "spiffe://mesh.local/ns/shop/sa/review",
        "spiffe://mesh.local/ns/shop",
    ] {
        let (connected, _) = shake(&client, &id(expected), &server).await;
        let error = connected.expect_err(expected);
        assert_eq!(error.code().to_string(), "M4003");
        assert!(error.to_string().contains(REVIEWS), "{error}");
    }
}

#[tokio::test]
async fn no_certificate_is_refused_unless_it_is_optional() {
    let authority = Authority::new();
    let nobody = Credentials::new();
    nobody.set_trust(authority.roots("mesh.local"));
    let nobody = ClientTls::new(&nobody);
    let reviews = authority.credentials(REVIEWS);
    let (_, accepted) = shake(&nobody, &id(REVIEWS), &ServerTls::required(&reviews)).await;
    assert_eq!(accepted.expect_err("refused").code().to_string(), "M4003");
    let (connected, accepted) = shake(&nobody, &id(REVIEWS), &ServerTls::optional(&reviews)).await;
    connected.expect("client");
    assert_eq!(accepted.expect("server").peer, None);
}

#[tokio::test]
async fn a_client_of_tls_1_2_is_accepted_unless_1_3_is_the_least() {
    let authority = Authority::new();
    let web = authority.credentials(WEB);
    let reviews = authority.credentials(REVIEWS);
    for server in [ServerTls::required(&reviews), ServerTls::optional(&reviews)] {
        for (server, accepted) in [
            (server.clone(), true),
            (server.at_least(TlsVersion::Tls12), true),
            (server.at_least(TlsVersion::Tls13), false),
        ] {
            let (near, far) = tokio::io::duplex(64 * 1024);
            let (old, at) = tokio::join!(
                connect_tls12(&web, Box::new(near)),
                server.accept(Box::new(far))
            );
            assert_eq!(old.is_ok(), accepted, "{server:?}");
            match at {
                Ok(at) => assert_eq!(at.peer.expect("a peer").as_str(), WEB),
                Err(error) => {
                    assert_eq!(error.code().to_string(), "M4002", "{error}");
                    assert!(!accepted, "{error}");
                }
            }
            // Ours speaks the newest.
            let (connected, at) = shake(&ClientTls::new(&web), &id(REVIEWS), &server).await;
            connected.expect("client");
            at.expect("server");
        }
    }
}

#[tokio::test]
async fn without_an_identity_a_server_says_so() {
    let authority = Authority::new();
    let client = ClientTls::new(&authority.credentials(WEB));
    let (_, accepted) = shake(
        &client,
        &Expect::Any,
        &ServerTls::required(&Credentials::new()),
    )
    .await;
    let error = accepted.expect_err("no identity");
    assert_eq!(error.code().to_string(), "M4003");
    assert!(error.to_string().contains("no identity yet"), "{error}");
}

#[tokio::test]
async fn a_peer_that_is_not_tls_or_breaks_off_is_m4002() {
    let authority = Authority::new();
    let credentials = authority.credentials(WEB);
    let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
    for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b""] {
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        far.write_all(answer).await.expect("written");
        drop(far);
        let error = ClientTls::new(&credentials)
            .connect(Box::new(near), host, &Expect::Any, Alpn::Both)
            .await
            .expect_err("not TLS");
        assert_eq!(error.code().to_string(), "M4002", "{error}");
        let (mut near, far) = tokio::io::duplex(64 * 1024);
        near.write_all(b"GET / HTTP/1.1\r\n\r\n")
            .await
            .expect("written");
        let error = ServerTls::required(&credentials)
            .accept(Box::new(far))
            .await;
        assert_eq!(error.expect_err("not TLS").code().to_string(), "M4002");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_given_ten_seconds() {
    let authority = Authority::new();
    let credentials = authority.credentials(WEB);
    let start = tokio::time::Instant::now();
    let (near, far) = tokio::io::duplex(64 * 1024);
    let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let client = ClientTls::new(&credentials);
    let error = client
        .connect(Box::new(near), host, &Expect::Any, Alpn::Both)
        .await;
    assert_eq!(error.expect_err("silent").code().to_string(), "M4002");
    assert_eq!(start.elapsed(), Duration::from_secs(10));
    drop(far);
    let (near, far) = tokio::io::duplex(64 * 1024);
    let error = ServerTls::required(&credentials)
        .accept(Box::new(far))
        .await;
    assert_eq!(error.expect_err("silent").code().to_string(), "M4002");
    assert_eq!(start.elapsed(), Duration::from_secs(20));
    drop(near);
}

#[tokio::test]
async fn a_pinned_authority_is_known_by_its_hash_alone() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = ServerTls::optional(&authority.credentials(REVIEWS));
    let pinned = ClientTls::pinned(sha256(&authority.der));
    let (connected, accepted) = shake(&pinned, &Expect::Any, &server).await;
    assert_eq!(
        connected.expect("client").peer.expect("a peer").as_str(),
        REVIEWS
    );
    assert_eq!(accepted.expect("server").peer, None);
    let (connected, _) = shake(&pinned, &id(WEB), &server).await;
    assert_eq!(
        connected.expect_err("another id").code().to_string(),
        "M4003"
    );
    let (connected, _) = shake(
        &ClientTls::pinned(sha256(&other.der)),
        &Expect::Any,
        &server,
    )
    .await;
    assert_eq!(
        connected.expect_err("another authority").code().to_string(),
        "M4003"
    );
    // The pinned certificate is shown, but the leaf is not its own.
    let forged = authority.credentials(REVIEWS);
    let leaf = other.leaf(&[REVIEWS], |_| {});
    let first = leaf
        .chain
        .split_inclusive("-----END CERTIFICATE-----\n")
        .next()
        .expect("a leaf");
    let chain = format!("{first}{}", authority.pem);
    forged.set_identity(Identity::unchecked(&chain, &leaf.key));
    let (connected, _) = shake(&pinned, &Expect::Any, &ServerTls::optional(&forged)).await;
    assert_eq!(connected.expect_err("forged").code().to_string(), "M4003");
}

#[tokio::test]
async fn outside_the_mesh_the_host_name_counts() {
    let authority = Authority::new();
    let credentials = authority.credentials(REVIEWS);
    let leaf = authority.leaf(&[], |p| {
        p.subject_alt_names = vec![SanType::DnsName(
            "api.example.com".try_into().expect("a name"),
        )];
    });
    credentials.set_identity(Identity::unchecked(&leaf.chain, &leaf.key));
    let server = ServerTls::optional(&credentials);
    let client = ClientTls::with_roots_pem(&authority.pem).expect("roots");
    let name = |name: &str| Expect::Name(name.to_owned());
    let (connected, _) = shake(&client, &name("api.example.com"), &server).await;
    assert_eq!(connected.expect("the right name").peer, None);
    let (connected, _) = shake(&client, &name("evil.example.com"), &server).await;
    assert_eq!(
        connected.expect_err("another name").code().to_string(),
        "M4003"
    );
    let strangers = ClientTls::with_roots_pem(Authority::new().pem).expect("roots");
    let (connected, _) = shake(&strangers, &name("api.example.com"), &server).await;
    assert_eq!(
        connected.expect_err("another authority").code().to_string(),
        "M4003"
    );
    let (connected, _) = shake(&client, &id(REVIEWS), &server).await;
    assert_eq!(
        connected.expect_err("no SPIFFE here").code().to_string(),
        "M4002"
    );
}

#[tokio::test]
async fn a_withdrawn_root_counts_for_the_next_handshake() {
    let (old, new) = (Authority::new(), Authority::new());
    let client = old.credentials(WEB);
    let server = old.credentials(REVIEWS);
    let (tls, accept) = (ClientTls::new(&client), ServerTls::required(&server));
    shake(&tls, &id(REVIEWS), &accept).await.0.expect("before");
    server.set_identity(new.identity(REVIEWS));
    let (connected, _) = shake(&tls, &id(REVIEWS), &accept).await;
    assert_eq!(
        connected.expect_err("not trusted yet").code().to_string(),
        "M4003"
    );
    let both = [("mesh.local", &old.pem), ("mesh.local", &new.pem)];
    client.set_trust(TrustRoots::from_pem(both).expect("roots"));
    let (connected, accepted) = shake(&tls, &id(REVIEWS), &accept).await;
    connected.expect("trusts both");
    accepted.expect("the client is still of the old authority, which is trusted");
}

#[tokio::test(start_paused = true)]
async fn a_directory_is_reloaded_when_its_content_changes() {
    let authority = Authority::new();
    let path = std::env::temp_dir().join(format!("mesh-tls-{}", std::process::id()));
    std::fs::create_dir_all(&path).expect("a directory");
    let write = |leaf: &Leaf| {
        std::fs::write(path.join("cert.pem"), &leaf.chain).expect("written");
        std::fs::write(path.join("key.pem"), &leaf.key).expect("written");
    };
    let credentials = Credentials::new();
    assert!(reload_directory(&path, &credentials).is_err());
    std::fs::write(path.join("roots.pem"), &authority.pem).expect("written");
    write(&authority.leaf(&[WEB], |_| {}));
    let task = tokio::spawn(reload_directory(&path, &credentials).expect("loaded"));
    assert_eq!(
        credentials
            .identity()
            .expect("an identity")
            .spiffe_id()
            .as_str(),
        WEB
    );
    let first = credentials.generation();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(credentials.generation(), first);
    // A key that does not fit: the last good set stays.
    std::fs::write(path.join("key.pem"), authority.leaf(&[WEB], |_| {}).key).expect("written");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(credentials.generation(), first);
    write(&authority.leaf(&[REVIEWS], |_| {}));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(
        credentials
            .identity()
            .expect("an identity")
            .spiffe_id()
            .as_str(),
        REVIEWS
    );
    task.abort();
    std::fs::remove_dir_all(&path).expect("removed");
}
