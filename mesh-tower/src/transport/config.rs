use std::net::SocketAddr;
use std::time::Duration;

use crate::tls::{ClientTls, Expect};

/// What an endpoint speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only; over plaintext by prior knowledge.
    Http2,
    /// TLS: what ALPN agrees on. Plaintext: HTTP/2 for gRPC requests, HTTP/1.1 for others.
    #[default]
    Auto,
}

/// HTTP/2 limits. All are set on purpose; hyper's own defaults may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct H2Settings {
    /// Bytes that one stream may have in flight to us, unread.
    pub stream_window: u32,
    /// Bytes that all streams of a connection may have in flight to us, unread.
    pub connection_window: u32,
    /// Longest list of response headers, in bytes after decompression.
    pub max_header_list: u32,
    /// Bytes of one request's body that are buffered for the socket.
    pub max_send_buffer: usize,
    /// A ping after this much silence while calls are in flight; `None` for none.
    pub ping: Option<Duration>,
    /// The connection is dead when a ping has no answer for this long.
    pub ping_timeout: Duration,
}

/// How an [`EndpointPool`](super::EndpointPool) reaches its endpoint.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// Where it is.
    pub addr: SocketAddr,
    /// `Host` and `:authority` of requests that name none; the address if `None`.
    pub authority: Option<String>,
    /// What it speaks.
    pub protocol: Protocol,
    /// Credentials with the way to check the server, and who it must be; plaintext if `None`.
    pub tls: Option<(ClientTls, Expect)>,
    /// The longest wait for TCP. The TLS handshake has its own limit of 10 s; both end with the
    /// attempt's timeout.
    pub connect_timeout: Duration,
    /// Idle HTTP/1.1 connections kept per shard; more are closed.
    pub max_idle: usize,
    /// An idle connection is closed after one to one and a half times this.
    pub idle_timeout: Duration,
    /// Connections at a time, of both kinds and over all shards. More calls wait.
    pub max_connections: usize,
    /// A pooled connection that was idle for this long is looked at once more before use: the
    /// runtime gets a turn to notice that the server has closed it.
    pub verify_idle_after: Duration,
    /// Number of shards; a worker uses the one of its
    /// [index](crate::runtime::worker_index). 1 in applications.
    pub shards: usize,
    /// HTTP/2 limits.
    pub h2: H2Settings,
}

// === impl PoolConfig ===

impl PoolConfig {
    /// Plaintext to `addr` with the defaults.
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            authority: None,
            protocol: Protocol::Auto,
            tls: None,
            // One SYN retransmission is at 1 s: later than that, another endpoint is the better bet.
            connect_timeout: Duration::from_secs(1),
            max_idle: 64,
            // Below the shortest common server timeouts (Node 5 s is met by `verify_idle_after`).
            idle_timeout: Duration::from_secs(60),
            max_connections: 1024,
            verify_idle_after: Duration::from_millis(5),
            shards: 1,
            h2: H2Settings::default(),
        }
    }

    /// The `Host` and `:authority` of requests that name none.
    #[must_use]
    pub fn with_authority(mut self, authority: impl Into<String>) -> Self {
        self.authority = Some(authority.into());
        self
    }

    /// What the endpoint speaks.
    #[must_use]
    pub fn with_protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// TLS, and who the server must be.
    #[must_use]
    pub fn with_tls(mut self, tls: ClientTls, expect: Expect) -> Self {
        self.tls = Some((tls, expect));
        self
    }

    /// The longest wait for TCP.
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Connections at a time; at least 1.
    #[must_use]
    pub fn with_max_connections(mut self, max: usize) -> Self {
        self.max_connections = max.max(1);
        self
    }

    /// Number of shards; at least 1.
    #[must_use]
    pub fn with_shards(mut self, shards: usize) -> Self {
        self.shards = shards.max(1);
        self
    }
}

// === impl H2Settings ===

impl Default for H2Settings {
    fn default() -> Self {
        Self {
            stream_window: 256 * 1024,
            // Four streams' worth: bounds what stalled readers can pin.
            connection_window: 1024 * 1024,
            max_header_list: 64 * 1024,
            max_send_buffer: 128 * 1024,
            ping: Some(Duration::from_secs(10)),
            ping_timeout: Duration::from_secs(20),
        }
    }
}
