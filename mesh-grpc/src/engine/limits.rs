//! Bounds on what a peer may make the engine keep or send.

/// Bounds of one connection. Whoever exceeds one loses the stream, not the server its memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Names in one request, subscribed, unsubscribed and held together.
    pub names_per_request: usize,
    /// Names that one connection may be subscribed to, over all types.
    pub names_per_connection: usize,
    /// Bytes of a name, a type URL or a nonce.
    pub name_bytes: usize,
    /// Types that one connection may ask for.
    pub types_per_connection: usize,
    /// Bytes kept of the text of a refusal; the rest is cut off.
    pub error_bytes: usize,
    /// Bytes of resources in one response, unless one resource alone is larger. The rest follows in the next one.
    /// Below gRPC's usual limit of 4 MiB a message.
    pub response_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            names_per_request: 10_000,
            names_per_connection: 20_000,
            name_bytes: 1_024,
            types_per_connection: 32,
            error_bytes: 16 * 1_024,
            response_bytes: 1 << 20,
        }
    }
}

/// A peer broke the protocol or a bound; its stream should end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// Too many names in one request.
    #[error("{0} names in one request")]
    NamesPerRequest(usize),
    /// Too many names subscribed.
    #[error("more than {0} names subscribed")]
    NamesPerConnection(usize),
    /// A name, type URL or nonce is too long.
    #[error("a name of {0} bytes")]
    NameBytes(usize),
    /// Too many types.
    #[error("more than {0} resource types")]
    TypesPerConnection(usize),
    /// No type URL given.
    #[error("no type URL")]
    NoType,
    /// The connection is not known (any more).
    #[error("unknown connection")]
    UnknownConnection,
}
