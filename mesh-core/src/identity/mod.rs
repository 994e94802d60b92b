//! Who a peer is, and whether it may.
//!
//! [`SpiffeId`] is parsed once, at the edge, by the rules of the SPIFFE ID standard; everything
//! behind holds the parsed value. The workload of service `shop/reviews` in trust domain
//! `mesh.local` is `spiffe://mesh.local/ns/shop/sa/reviews`. [`access`] decides whether a call is
//! allowed.

pub mod access;
mod spiffe;

pub use spiffe::{SpiffeError, SpiffeId, check_trust_domain};
