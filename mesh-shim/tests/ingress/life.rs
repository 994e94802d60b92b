//! The ingress as a member of the mesh, and its life.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::client::Client;
use crate::common::pair::{Pair, Setup};
use crate::common::{Scratch, free_port, until};
use crate::{Edge, named, route, service, to};

const WWW: &str = "www.example.com";

#[tokio::test]
async fn services_know_the_ingress_by_its_identity() {
    let app = named("app").await;
    // Of all that have an identity only the ingress may come.
    let access = "---\napiVersion: policy.mesh/v1alpha1\nkind: AccessPolicy\nmetadata: { name: app, namespace: shop }\n\
                  spec: { targetRefs: [{ kind: Service, name: app }], mode: Enforce, allow: [{ from: [{ service: edge }] }] }\n";
    let setup = Setup {
        inbound_policy: access.to_owned(),
        ..Setup::default()
    };
    let pair = Pair::start(app.addr, setup).await;
    let scratch = Scratch::new();
    let identity = pair.authority.identity(&scratch, "edge");
    let at = pair.app.port("inbound");
    let known = format!("address: \"{at}\", identity: \"spiffe://mesh.local/ns/shop/sa/app\"");
    let policy = service("app", at).replace(&format!("address: \"{at}\""), &known)
        + "apiVersion: policy.mesh/v1alpha1\nkind: TransportPolicy\nmetadata: { name: all, namespace: shop }\n\
           spec: { targetRefs: [{ kind: Mesh }], mtls: Strict }\n---\n"
        + &route("www", &[WWW], &to("app"));
    let edge = Edge::start(&policy, &["--identity", &identity]).await;
    // Strict is about peers of the mesh, which clients outside are not.
    let mut client = Client::secure(edge.tls(), WWW, &edge.public.pem, "h2").await;
    let answer = client.get(WWW, "/").await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "app"));
    let mut client = Client::plaintext(edge.plaintext()).await;
    assert_eq!(client.get(WWW, "/").await.status, 200);
    // Who is not named is denied, with the ingress's own word for it.
    let mut web = Client::plaintext(pair.front()).await;
    assert_eq!(web.get("app.shop", "/").await.status, 403);
    let called = "mesh_server_requests_total{from=\"shop/edge\",class=\"success\",status=\"200\",error_type=\"\"} 2";
    pair.app.metric(called).await;
    println!("{called}");
}

#[tokio::test]
async fn a_successor_takes_the_listeners_over_and_no_request_fails() {
    let web = named("web").await;
    let policy = service("web", web.addr) + &route("www", &[WWW], &to("web"));
    let scratch = Scratch::new();
    let socket = scratch.at("takeover.sock");
    let flags = ["--takeover", socket.as_str()];
    // Ports that are known, as they are when one version follows another.
    let listen = ["", "http://"].map(|scheme| format!("{scheme}127.0.0.1:{}", free_port()));
    let mut edge = Edge::spawn(&policy, &flags, [&listen[0], &listen[1]], &[]);
    edge.shim.ready().await;
    let (stop, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let (tls, roots) = (edge.tls(), edge.public.pem.clone());
    let callers: Vec<_> = (0..4)
        .map(|n| {
            let (stop, done, roots) = (stop.clone(), done.clone(), roots.clone());
            tokio::spawn(async move {
                let alpn = if n % 2 == 0 { "h2" } else { "http/1.1" };
                while !stop.load(Relaxed) {
                    // A connection for each request: what a listener may lose.
                    let mut client = Client::secure(tls, WWW, &roots, alpn).await;
                    assert_eq!(client.get(WWW, "/").await.status, 200);
                    done.fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    let at_least = async |n: u64| {
        let what = format!("{n} requests are served");
        until(&what, async || done.load(Relaxed) >= n).await;
    };
    at_least(100).await;
    let mut successor = edge.successor(&flags);
    successor.ready().await;
    assert_eq!(successor.port("ingress"), tls);
    assert_eq!(edge.shim.end().await.code(), Some(0));
    at_least(done.load(Relaxed) + 100).await;
    stop.store(true, Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    println!(
        "0 of {} requests failed, each on a connection of its own",
        done.load(Relaxed)
    );
}
