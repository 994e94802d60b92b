//! Certificates change while the ingress runs.

use std::time::Duration;

use crate::client::{Client, leaf, shown};
use crate::common::authority::Leaf;
use crate::common::until;
use crate::{Edge, named, route, service, to, write_pair};

const WWW: &str = "www.example.com";

async fn until_shown(edge: &Edge, name: &str, expected: &[u8]) -> Duration {
    until(&format!("{name} is shown"), async || {
        let leaf = shown(edge.tls(), name, &edge.public.pem).await;
        leaf.is_ok_and(|leaf| leaf == expected)
    })
    .await
}

#[tokio::test]
async fn a_new_pair_serves_the_next_handshake_and_a_broken_one_changes_nothing() {
    let web = named("web").await;
    let policy = service("web", web.addr) + &route("www", &["*.example.com"], &to("web"));
    let mut edge = Edge::start(&policy, &["--workers", "2"]).await;
    let roots = edge.public.pem.clone();
    let mut old = Client::secure(edge.tls(), WWW, &roots, "h2").await;
    assert_eq!(old.get(WWW, "/").await.status, 200);

    let renewed = edge.public.hosts(&[WWW]);
    write_pair(&edge.scratch, "www", &renewed);
    let took = until_shown(&edge, WWW, &leaf(&renewed)).await;
    println!("a new pair was shown after {took:?}");
    assert_eq!(old.get(WWW, "/").await.status, 200);

    // The key of another: told once, with path and code; the last good one stays.
    let wrong = Leaf {
        cert: edge.public.hosts(&[WWW]).cert,
        key: renewed.key.clone(),
    };
    write_pair(&edge.scratch, "www", &wrong);
    let line = edge.shim.line("M1005").await;
    assert!(line.contains("www.key: it is not the key of"), "{line}");
    assert!(line.contains("the last good one stays"), "{line}");
    println!("{line}");
    edge.shim
        .metric("mesh_shim_ingress_certificates_broken 1")
        .await;
    assert_eq!(
        shown(edge.tls(), WWW, &roots).await.unwrap(),
        leaf(&renewed)
    );
    // The others are not touched.
    let other = edge.public.hosts(&["*.example.com"]);
    write_pair(&edge.scratch, "any", &other);
    until_shown(&edge, "a.example.com", &leaf(&other)).await;

    let good = edge.public.hosts(&[WWW]);
    write_pair(&edge.scratch, "www", &good);
    until_shown(&edge, WWW, &leaf(&good)).await;
    edge.shim
        .metric("mesh_shim_ingress_certificates_broken 0")
        .await;
    let metrics = edge.shim.metrics().await;
    let told = "mesh_shim_ingress_certificate_expiry_seconds{certificate=\"www\"} ";
    assert!(metrics.contains(told), "{metrics}");

    // A removed one is gone: the wildcard's is shown.
    for ending in ["crt", "key"] {
        let path = edge
            .scratch
            .path()
            .join(format!("certificates/www.{ending}"));
        std::fs::remove_file(path).unwrap();
    }
    until_shown(&edge, WWW, &leaf(&other)).await;
    assert!(!edge.shim.metrics().await.contains(told));
    assert_eq!(old.get(WWW, "/").await.status, 200);
}
