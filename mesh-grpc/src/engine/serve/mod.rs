//! The server half on tonic: one [`Ads`] carries the messages of all streams to and from one
//! [`Engine`](super::server::Engine).
//!
//! There is no task per stream: the response stream itself polls the engine, so a slow client holds back only its
//! own responses, by HTTP/2 flow control.

mod ads;

pub use ads::{Ads, Peer, PeerView};
