//! Parsing is a security boundary: what bites a proxy, byte by byte, against one shim and against two
//! with mutual TLS between them. Each case names what is sent and what is expected, and looks at what
//! the application behind has seen of it.

#![allow(clippy::print_stdout, reason = "says the figures that it asserts")]

#[path = "../common/mod.rs"]
mod common;

mod answers;
mod fields;
mod frames;
mod framing;
mod http2;
mod time;

use std::net::SocketAddr;

use common::app::{Recorder, ok};
use common::pair::{Gate, Hop, Pair, Setup};
use common::wire::{Message, Wire};

/// One shim, two, and an ingress, before one recording application each.
pub(crate) struct Fronts {
    pub(crate) hop: Hop,
    pub(crate) pair: Pair,
    pub(crate) gate: Gate,
    pub(crate) app: Recorder,
}

impl Fronts {
    pub(crate) async fn start() -> Self {
        Self::answering(|_| ok()).await
    }

    pub(crate) async fn answering(
        say: impl Fn(&Message) -> common::app::Say + Send + Sync + 'static,
    ) -> Self {
        let app = Recorder::new(say).await;
        let hop = Hop::start(app.addr, Setup::default()).await;
        let pair = Pair::start(app.addr, Setup::default()).await;
        let gate = Gate::start(app.addr).await;
        Self {
            hop,
            pair,
            gate,
            app,
        }
    }

    /// Where a client can come in: an inbound listener, an explicit port, the forward proxy, an ingress.
    pub(crate) fn all(&self) -> [(&'static str, SocketAddr); 4] {
        [
            ("inbound", self.hop.front()),
            ("port", self.pair.front()),
            ("proxy", self.pair.proxy()),
            ("ingress", self.gate.front()),
        ]
    }

    /// What the application has seen until a request that is sent now has passed.
    pub(crate) async fn seen(&self, front: SocketAddr) -> Vec<Message> {
        let mut client = Wire::connect(front).await;
        client
            .send("GET /sentinel HTTP/1.1\r\nHost: app.shop\r\n\r\n")
            .await;
        let answer = client.answer().await;
        let text = answer.text();
        assert_eq!(answer.head.status(), 200, "the sentinel: {text}");
        let mut seen = self.app.take();
        let is_sentinel = |message: &Message| message.head.line == "GET /sentinel HTTP/1.1";
        assert!(seen.iter().any(is_sentinel));
        seen.retain(|message| !is_sentinel(message));
        seen
    }
}

/// Whether the connection ends without another byte.
pub(crate) async fn ends(client: &mut Wire) -> bool {
    let end = tokio::time::timeout(std::time::Duration::from_secs(3), client.until_end());
    end.await.is_ok_and(|(rest, _)| rest.is_empty())
}
