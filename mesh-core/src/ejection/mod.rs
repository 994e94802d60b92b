//! Ejection: an endpoint that fails while its peers do not is taken out of rotation for a time
//! (Envoy's outlier detection; gRFC A50).
//!
//! An endpoint is ejected when either holds, at the failure that makes it so:
//!
//! - it failed 5 times in a row
//! - of at least 20 calls within 10 s it failed 20 % or more, and its peers fail less than half as
//!   much. With one of three endpoints failing 30 % the first rule alone needs 24 s, this one 1.2 s
//!
//! It stays out for 30 s times the number of ejections in a row, at most 300 s; each interval spent
//! healthy takes one off that number. Then one probe call decides: success brings the endpoint back
//! with slow start, failure ejects it again.
//!
//! Ejecting helps only while others can serve, so it is withheld, and said so, when
//!
//! - more than 50 % would be out (`maxEjectedPercent`),
//! - it is the last available endpoint, or
//! - the service fails as a whole (correlated brake): most of the peers that take calls are failing
//!   too, so the fault is not in this endpoint.
//!
//! Cold start: without calls nothing is ejected. Not a goal: telling slow endpoints from others
//! (the load estimate does that), or health checks.
//!
//! Recording takes no lock and allocates nothing. The rare decision to eject is serialised by a
//! flag that is tried and never waited for, so two threads cannot both take the last allowed one.

mod detector;
mod reason;
mod state;
mod window;

pub use detector::Detector;
pub use reason::{EjectReason, Event, Withheld};
pub use state::EjectionState;

#[cfg(test)]
mod tests;
