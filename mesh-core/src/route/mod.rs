//! Which route a request takes: a compiled table, in the precedence of Gateway API.
//!
//! Of the matches that fit, the one wins that has
//!
//! 1. the most specific host: exact, then the longest wildcard, then none
//! 2. the most specific path: exact, then the longest prefix, then a regular expression (the longer
//!    first), then none. A prefix `/` is a condition that says nothing, and counts as none:
//!    otherwise no expression could win against a rule for the rest
//! 3. a method
//! 4. more header conditions, then more query conditions
//! 5. the earlier place in the policy
//!
//! A condition on a gRPC service is the prefix `/package.Service`, one on its method the exact
//! path, so the order of GRPCRoute (longer service, longer method, more headers) is the same one.
//!
//! Exact paths and prefixes are found by hash, one look-up per segment of the path, so a service
//! with 1,000 routes costs little more than one with ten. Finding takes no lock and allocates
//! nothing, but for query conditions with a regular expression on an escaped value.

pub mod key;
mod matcher;
mod query;
pub mod session;
mod table;

pub use crate::policy::model::Split;
pub use matcher::accepts;
pub use table::{Matched, RouteTable, Step};

#[cfg(test)]
mod sticky_tests;
#[cfg(test)]
mod tests;
