//! Framing is kept: raw bytes at both ends of one shim, of two with mutual TLS between them, and of an
//! ingress.

#[path = "../common/mod.rs"]
mod common;

mod exchange;
mod messages;
mod streams;
mod tunnels;

use std::net::SocketAddr;

use common::app::RawApp;
use common::pair::{Gate, Hop, Pair, Setup};

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

/// Each of the ways to one application.
pub(crate) async fn both() -> Vec<(RawApp, Way)> {
    let mut ways = Vec::from(both_with(Setup::default()).await);
    let app = RawApp::new().await;
    let gate = Gate::start(app.addr).await;
    ways.push((app, Way::Gate(Box::new(gate))));
    ways
}

pub(crate) async fn both_with(setup: Setup) -> [(RawApp, Way); 2] {
    let (one, two) = (RawApp::new().await, RawApp::new().await);
    let hop = Hop::start(one.addr, setup.clone()).await;
    let pair = Pair::start(two.addr, setup).await;
    [
        (one, Way::Hop(Box::new(hop))),
        (two, Way::Pair(Box::new(pair))),
    ]
}
