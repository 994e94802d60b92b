use std::net::SocketAddr;
use std::time::Duration;

use mesh_core::policy::model::ConnectionPolicy;

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
    /// No HTTP at all: bytes, by [`Mesh::tcp`](crate::Mesh::tcp). Requests are refused.
    Bytes,
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
}

/// How an [`EndpointPool`](super::EndpointPool) reaches its endpoint.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// Where it is.
    pub addr: SocketAddr,
    /// Where it is in the other address family, if it is in both (RFC 8305).
    pub alternate: Option<SocketAddr>,
    /// `Host` and `:authority` of requests that name none; the address if `None`.
    pub authority: Option<String>,
    /// What it speaks.
    pub protocol: Protocol,
    /// Credentials with the way to check the server, and who it must be; plaintext if `None`.
    pub tls: Option<(ClientTls, Expect)>,
    /// How connections are made, kept and ended; see also
    /// [`EndpointPool::tune`](super::EndpointPool::tune). The wait for a connection is that for TCP:
    /// the TLS handshake has its own limit of 10 s, and both end with the attempt's timeout.
    pub policy: ConnectionPolicy,
    /// Idle HTTP/1.1 connections kept per shard; more are closed.
    pub max_idle: usize,
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
            alternate: None,
            authority: None,
            protocol: Protocol::Auto,
            tls: None,
            policy: ConnectionPolicy::default(),
            max_idle: 64,
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
        self.policy = self.policy.with_connect_timeout(timeout);
        self
    }

    /// How connections are made, kept and ended.
    #[must_use]
    pub fn with_policy(mut self, policy: ConnectionPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Where it is in the other address family.
    #[must_use]
    pub fn with_alternate(mut self, addr: Option<SocketAddr>) -> Self {
        self.alternate = addr;
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
        }
    }
}
