//! Bytes both ways.
//!
//! By [`both_ways`]; here is what ends a connection beside its two sides.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::meter::{Meter, Metered};
use crate::transport::{BoxIo, both_ways};

/// How a connection of bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Bytes from the client to the endpoint.
    pub sent: u64,
    /// Bytes from the endpoint to the client.
    pub received: u64,
    /// Why it is over.
    pub end: End,
}

/// Why a connection of bytes is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// Both sides have ended in order.
    Closed,
    /// The client broke off.
    Client,
    /// The endpoint broke off.
    Endpoint,
    /// Nothing moved for too long.
    Idle,
    /// It was told to end.
    Cut,
    /// The peer is not trusted, or not allowed, any more.
    Revoked,
}

// === impl End ===

impl End {
    /// The word of the access log.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Client => "reset by the client",
            Self::Endpoint => "reset by the endpoint",
            Self::Idle => "idle",
            Self::Cut => "cut",
            Self::Revoked => "access revoked [M4003]",
        }
    }
}

/// Copies until the end, and gives the streams back.
pub(super) async fn copy(
    mut client: BoxIo,
    endpoint: BoxIo,
    meter: &Arc<Meter>,
    idle: Option<Duration>,
    cut: impl Future<Output = End>,
) -> (End, BoxIo, BoxIo) {
    let mut endpoint = Metered::new(endpoint, meter.clone());
    let end = {
        let both = pin!(both_ways(&mut client, &mut endpoint));
        tokio::select! {
            biased;
            done = both => match done {
                Ok(()) => End::Closed,
                Err(_) if meter.broke() => End::Endpoint,
                Err(_) => End::Client,
            },
            end = cut => end,
            () = silent(meter, idle) => End::Idle,
        }
    };
    (end, client, endpoint.into_inner())
}

/// Resolves when nothing has moved for `idle`, up to a quarter of it later: a clock for each byte
/// would cost more than the bytes.
pub(super) async fn silent(meter: &Meter, idle: Option<Duration>) {
    let Some(idle) = idle else {
        return std::future::pending().await;
    };
    let mut seen = meter.total();
    let mut quiet = 0;
    while quiet < 4 {
        tokio::time::sleep(idle / 4).await;
        let now = meter.total();
        quiet = if now == seen { quiet + 1 } else { 0 };
        seen = now;
    }
}
