use std::time::Duration;

/// What one server bears from its peers. The defaults are those of the policy reference.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Header fields of one request. 100; above it 431.
    pub header_fields: usize,
    /// Bytes of all header fields of one request. 64 KiB; above it 431.
    pub header_bytes: usize,
    /// Time for a TLS handshake, and for the first bytes that tell the protocol. 10 s.
    pub handshake: Duration,
    /// Time for a request's head, from its first byte. 10 s.
    pub head: Duration,
    /// How long an HTTP/1 connection may be silent between two requests. 75 s, longer than what
    /// clients keep an idle connection for, so that it is the client that closes it.
    pub idle: Duration,
    /// Streams of one HTTP/2 connection. 250.
    pub streams: u32,
    /// How often a silent HTTP/2 peer is asked whether it is there. 30 s.
    pub ping: Duration,
    /// How long its answer may take. 20 s.
    pub ping_timeout: Duration,
    /// A connection is told to finish (GOAWAY, `connection: close`) when it is this old, more or
    /// less by up to 10 % so that those made together do not end together (gRFC A9). None: callers
    /// find new instances through discovery, not by reconnecting.
    pub max_age: Option<Duration>,
    /// How long the calls of such a connection may still take until it is cut (gRFC A9). None is
    /// without end.
    pub max_age_grace: Option<Duration>,
    /// Open connections of this server; one more is closed at once. 10,000.
    pub connections: usize,
    /// Requests in work; one more is refused with M2014. 10,000.
    pub requests: usize,
}

/// How a server's connections are secured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsChoice {
    /// As the policy says; without an identity of our own plaintext, said once in the log.
    #[default]
    Policy,
    /// Mutual TLS only.
    Strict,
    /// Mutual TLS or plaintext on one port, told apart by the first byte. Plaintext peers are
    /// counted.
    Permissive,
    /// TLS with or without a certificate of the peer: for those who are about to get one.
    Join,
    /// Plaintext only.
    Disabled,
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_fields: 100,
            header_bytes: 64 * 1024,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            streams: 250,
            ping: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(20),
            max_age: None,
            max_age_grace: None,
            connections: 10_000,
            requests: 10_000,
        }
    }
}
