//! Framing is kept: raw bytes at both ends of one shim, of two with mutual TLS between them, and of an
//! ingress.

#[path = "../common/mod.rs"]
mod common;

mod exchange;
mod messages;
mod streams;
mod tunnels;

use std::net::SocketAddr;
use std::time::Instant;

use common::PATIENCE;
use common::app::RawApp;
use common::pair::{Gate, Hop, Pair, Setup};
use common::wire::Wire;

/// What stands between client and application.
pub(crate) enum Way {
    Hop(Box<Hop>),
    Pair(Box<Pair>),
    Gate(Box<Gate>),
}

impl Way {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Hop(_) => "one shim",
            Self::Pair(_) => "two shims",
            Self::Gate(_) => "an ingress",
        }
    }

    pub(crate) fn front(&self) -> SocketAddr {
        match self {
            Self::Hop(hop) => hop.front(),
            Self::Pair(pair) => pair.front(),
            Self::Gate(gate) => gate.front(),
        }
    }
}

/// Each of the ways, with an application behind it.
pub(crate) async fn each_way() -> Vec<(RawApp, Way)> {
    let mut ways = Vec::from(shims_with(Setup::default()).await);
    let app = RawApp::new().await;
    let gate = Gate::start(app.addr).await;
    ways.push((app, Way::Gate(Box::new(gate))));
    ways
}

/// One shim, and two.
pub(crate) async fn shims_with(setup: Setup) -> [(RawApp, Way); 2] {
    let (one, two) = (RawApp::new().await, RawApp::new().await);
    let hop = Hop::start(one.addr, setup.clone()).await;
    let pair = Pair::start(two.addr, setup).await;
    [
        (one, Way::Hop(Box::new(hop))),
        (two, Way::Pair(Box::new(pair))),
    ]
}

/// Makes the connection between the shims, which on a loaded machine may take longer than a route of
/// the test allows for a request.
pub(crate) async fn warm(app: &RawApp, front: SocketAddr) {
    let began = Instant::now();
    loop {
        let mut client = Wire::connect(front).await;
        client
            .send("GET /warm HTTP/1.1\r\nHost: app.shop\r\n\r\n")
            .await;
        tokio::select! {
            mut served = app.accept() => {
                served.request().await;
                served
                    .send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .await;
                client.head().await;
                return;
            }
            refused = client.head() => assert!(began.elapsed() < PATIENCE, "{refused:?}"),
        }
    }
}
