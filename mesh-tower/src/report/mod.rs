//! The 1 s aggregates that a process tells the control server: what came in, from whom.
//!
//! What goes out is counted where calls are made; both end up in one
//! [`Report`](mesh_core::report::Report).

mod inbound;
mod peer;
mod sources;
mod stamps;

pub(crate) use self::inbound::InboundStats;
pub(crate) use self::peer::{Outcome, PeerStats, Status};
pub(crate) use self::sources::Source;
pub(crate) use self::stamps::LastStamp;
