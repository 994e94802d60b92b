//! Framing is kept: raw bytes at both ends of one shim, and of two with mutual TLS between them.

#[path = "../common/mod.rs"]
mod common;

mod exchange;
mod messages;
mod streams;
mod tunnels;

use std::net::SocketAddr;

use common::app::RawApp;
use common::pair::{Hop, Pair, Setup};

/// What stands between client and application.
pub(crate) enum Way {
    Hop(Box<Hop>),
    Pair(Box<Pair>),
}

impl Way {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Hop(_) => "one shim",
            Self::Pair(_) => "two shims",
        }
    }

    pub(crate) fn front(&self) -> SocketAddr {
        match self {
            Self::Hop(hop) => hop.front(),
            Self::Pair(pair) => pair.front(),
        }
    }
}

/// Each of the two ways to one application.
pub(crate) async fn both() -> [(RawApp, Way); 2] {
    both_with(Setup::default()).await
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
