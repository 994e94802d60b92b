//! Connections that nobody was told to make here: redirected by the firewall, or sorted by the name in
//! a TLS ClientHello.
//!
//! ```text
//! where it was going (SO_ORIGINAL_DST, IP6T_SO_ORIGINAL_DST)
//!   an endpoint of the policy, of bytes      -> that service, by the engine
//!   an endpoint of the policy, of requests   -> that service, if what comes is a request
//!   elsewhere: a request with a known Host   -> that service
//!              TLS with a known SNI          -> that service, bytes untouched
//!              anything else                 -> where it was going, unchanged, and counted
//! ```

mod listen;
mod requests;
mod rules;
mod sni;
#[cfg(test)]
mod tests;

pub(crate) use self::listen::serve;
pub(crate) use self::requests::Requests;
pub(crate) use self::rules::Rules;
pub(crate) use self::sni::serve as serve_sni;
