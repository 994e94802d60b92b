//! Ejection: an endpoint that fails while its peers do not is taken out of rotation for a time
//! (Envoy's outlier detection; gRFC A50).
//!
//! At the failure that makes it so, an endpoint is ejected when either holds:
//!
//! - it failed 5 times in a row (`consecutiveErrors`); gateway errors in a row, and failures to
//!   connect or answer at all, can be counted beside or apart
//! - of at least 20 calls within 10 s it failed 20 % or more, and its peers fail less than half as
//!   much. With one of three endpoints failing 30 % the first rule alone needs 24 s, this one 1.2 s
//!
//! At the end of an interval, in the order of A50, when
//!
//! - its rate of success is below the mean of the endpoints less 1.9 standard deviations
//!   (`successRate`, off)
//! - it failed 85 % or more (`failurePercentage`, off). Envoy's field says "greater than or equal"
//!   and its code "greater": here it is the former
//! - it has been more than 3 times as slow as the median of its peers for 3 intervals (`latency`,
//!   which by default only watches and tells)
//!
//! It stays out for 30 s times the number of ejections in a row, at most 300 s; each interval spent
//! healthy takes one off that number. A probe call, due after each quarter of that time, or an
//! active health check ends it early: success brings the endpoint back with slow start. A probe that
//! fails before the time is up changes nothing; the one at the end ejects it again.
//!
//! Ejecting helps only while others can serve, so it is withheld, and said so, when
//!
//! - more than 50 % would be out (`maxEjectedPercent`),
//! - it is the last available endpoint, or
//! - the service fails as a whole (correlated brake): most of the peers that take calls are failing
//!   too, so the fault is not in this endpoint.
//!
//! The cap and the brake are looked at before each single ejection.
//!
//! Cold start: without calls nothing is ejected.
//!
//! Recording takes no lock and allocates nothing. The rare decision to eject is serialised by a
//! flag that is tried and never waited for, so two threads cannot both take the last allowed one.

mod brake;
mod detector;
mod observed;
mod outliers;
mod reason;
mod state;
mod window;

pub use detector::Detector;
pub use observed::Observed;
pub use reason::{EjectReason, Event, Withheld};
pub use state::EjectionState;

#[cfg(test)]
mod a50_tests;
#[cfg(test)]
mod tests;
