//! Shims around an application: one, or two with mutual TLS between them.
//!
//! ```text
//! Hop:   client --plaintext--> [inbound, shop/app] --> application
//! Pair:  client --plaintext--> [port or forward proxy, shop/web] ==mTLS==> [inbound, shop/app] --> application
//! Gate:  client --plaintext--> [ingress, shop/edge] --> application
//! ```

use std::net::SocketAddr;

use super::{Authority, Scratch, Shim};

/// How the shims are started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    /// What the application speaks; HTTP/1.1 if not said.
    pub(crate) speaks: Option<&'static str>,
    /// More of the calling side's policy, as documents.
    pub(crate) policy: String,
    /// More of the policy on the application's side.
    pub(crate) inbound_policy: String,
    /// More flags for both.
    pub(crate) flags: Vec<&'static str>,
}

/// Two shims.
pub(crate) struct Pair {
    pub(crate) web: Shim,
    pub(crate) app: Shim,
    pub(crate) authority: Authority,
    pub(crate) scratch: Scratch,
}

/// One shim, without an identity: plaintext comes in.
pub(crate) struct Hop {
    pub(crate) app: Shim,
    pub(crate) scratch: Scratch,
}

/// An ingress without TLS, in front of an application outside the mesh.
pub(crate) struct Gate {
    pub(crate) edge: Shim,
    pub(crate) scratch: Scratch,
}

/// Listeners at any port of this machine, and a short time unready.
pub(crate) const LOCAL: [&str; 10] = [
    "--inbound",
    "127.0.0.1:0",
    "--outbound",
    "127.0.0.1:0",
    "--health",
    "127.0.0.1:0",
    "--metrics",
    "127.0.0.1:0",
    "--drain-unready",
    "100ms",
];

fn service(endpoints: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: app, namespace: shop }}\nspec: {{ {endpoints} }}\n"
    )
}

async fn inbound(scratch: &Scratch, app: SocketAddr, setup: &Setup, more: &[&str]) -> Shim {
    let text = service("") + &setup.inbound_policy;
    let policy = scratch.write("app.yaml", &text).display().to_string();
    let port = app.port().to_string();
    let mut args = vec!["--as", "shop/app", "--port", &port, "--policy", &policy];
    args.extend(LOCAL);
    args.extend(&setup.flags);
    args.extend(more);
    if let Some(speaks) = setup.speaks {
        args.extend(["--app-protocol", speaks]);
    }
    let mut shim = Shim::spawn(&args);
    shim.ready().await;
    shim
}

impl Hop {
    pub(crate) async fn start(app: SocketAddr, setup: Setup) -> Self {
        let scratch = Scratch::new();
        let app = inbound(&scratch, app, &setup, &[]).await;
        Self { app, scratch }
    }

    pub(crate) fn front(&self) -> SocketAddr {
        self.app.port("inbound")
    }
}

impl Gate {
    pub(crate) async fn start(app: SocketAddr) -> Self {
        let scratch = Scratch::new();
        let text = service(&format!(
            "endpoints: {{ static: [{{ address: \"{app}\" }}] }}"
        )) + "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: all, namespace: shop }\n\
               spec: { parentRefs: [{ group: \"\", kind: Service, name: edge }], rules: [{ backendRefs: [{ name: app, port: 80 }] }] }\n";
        let policy = scratch.write("edge.yaml", &text).display().to_string();
        let mut args = vec!["--as", "shop/edge", "--policy", &policy];
        args.extend(LOCAL);
        args.extend(["--ingress", "http://127.0.0.1:0"]);
        let mut edge = Shim::spawn(&args);
        edge.ready().await;
        Self { edge, scratch }
    }

    pub(crate) fn front(&self) -> SocketAddr {
        self.edge.port("ingress-http")
    }
}

impl Pair {
    pub(crate) async fn start(app: SocketAddr, setup: Setup) -> Self {
        let (scratch, authority) = (Scratch::new(), Authority::new());
        let own = authority.identity(&scratch, "app");
        let app = inbound(&scratch, app, &setup, &["--identity", &own]).await;
        let endpoints = format!(
            "endpoints: {{ static: [{{ address: \"{}\", identity: \"spiffe://mesh.local/ns/shop/sa/app\" }}] }}",
            app.port("inbound")
        );
        let text = service(&endpoints) + &setup.policy;
        let policy = scratch.write("web.yaml", &text).display().to_string();
        let own = authority.identity(&scratch, "web");
        let mut args = vec!["--as", "shop/web", "--policy", &policy, "--identity", &own];
        args.extend(LOCAL);
        args.extend(["--upstream", "app.shop=127.0.0.1:0"]);
        args.extend(&setup.flags);
        let mut web = Shim::spawn(&args);
        web.ready().await;
        Self {
            web,
            app,
            authority,
            scratch,
        }
    }

    /// The local port of the one service.
    pub(crate) fn front(&self) -> SocketAddr {
        self.web.upstream()
    }

    pub(crate) fn proxy(&self) -> SocketAddr {
        self.web.port("outbound")
    }
}
