//! The demo's protocol, generated from `proto/shop.proto` and checked in; `tests/generated.rs`
//! fails when it is stale.

#![allow(missing_docs, unreachable_pub, clippy::all)]

include!("gen/shop.rs");
