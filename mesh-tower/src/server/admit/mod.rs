//! What hyper leaves to us: requests that are well-formed bytes but not acceptable HTTP, and
//! fields that belong to one hop.

mod request;
mod response;
#[cfg(test)]
mod tests;

pub(super) use self::request::{Form, framing, is_upgradable, request};
pub(super) use self::response::{Asked, response};
