//! Upgrades (RFC 9110 7.8): a request that turns its connection into a tunnel, as a WebSocket does.
//!
//! ```text
//! caller --Upgrade--> [server, whole stack] -> relay -> [client, whole stack] --Upgrade--> service
//!        <---101---                                                           <---101---
//!        <================= bytes both ways, until both sides have ended ================>
//! ```
//!
//! The handshake is a request like any other: routed, balanced, admitted, timed and counted. Once it
//! is answered with 101 the call lasts as long as the tunnel: what the layers tie to the end of an
//! answer's body (load, places below ceilings, the call in flight, an idle timeout) holds until then.
//! Deadlines end with the answer's head.
//!
//! A tunnel has a connection of its own on each hop, HTTP/1.1 over mutual TLS too. A request that asks
//! for one is sent again only if nothing of it was written.
//!
//! Not every protocol may be asked for: a tunnel that speaks HTTP or TLS would carry requests past the
//! policy. Such a request is served without its `Upgrade`, as the RFC lets any server do.

mod ask;
mod lasting;
mod relay;
mod upgraded;

pub(crate) use self::ask::{accepts, allowed, is_asked};
pub(crate) use self::lasting::{Lasting, Life};
pub use self::relay::{Relay, bytes_of};
pub use self::upgraded::{Upgraded, on};
