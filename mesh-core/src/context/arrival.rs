use http::{HeaderMap, Method};

use crate::identity::SpiffeId;

/// What rules for calls that arrive may look at.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Who calls, if that was proved.
    pub peer: Option<&'a SpiffeId>,
    /// Our own trust domain, in which rules that name a service or a namespace are meant.
    pub domain: Option<&'a str>,
    /// The method.
    pub method: &'a Method,
    /// The path, without the query.
    pub path: &'a str,
    /// Whether it is gRPC.
    pub grpc: bool,
    /// The headers.
    pub headers: &'a HeaderMap,
}
