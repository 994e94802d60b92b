use std::time::Duration;

use super::tunables::tunables;
use crate::policy::defaults;

tunables! {
    /// How connections to the endpoints of a backend are made, kept and ended.
    pub struct ConnectionPolicy {
        /// Longest wait for a connection to one address, TLS included.
        connect_timeout / with_connect_timeout: Duration = defaults::CONNECT_TIMEOUT;
        /// Wait before the other address family is tried as well (RFC 8305).
        happy_eyeballs / with_happy_eyeballs: Duration = defaults::HAPPY_EYEBALLS;
        /// A connection takes no new calls after this; `None` is no limit.
        max_age / with_max_age: Option<Duration> = None;
        /// The age of each connection is longer or shorter by up to this percentage (A9).
        max_age_jitter_percent / with_max_age_jitter_percent: u32 =
            defaults::CONNECTION_AGE_JITTER_PERCENT;
        /// A connection without calls is closed after this.
        idle_timeout / with_idle_timeout: Duration = defaults::CONNECTION_IDLE;
        /// Silence after which an HTTP/2 connection is pinged, at least 10 s; `None` never (A8).
        keepalive_interval / with_keepalive_interval: Option<Duration> = None;
        /// Wait for the answer before the connection counts as dead (A8).
        keepalive_timeout / with_keepalive_timeout: Duration = defaults::KEEPALIVE_TIMEOUT;
        /// Whether a connection without calls is pinged too (A8's `permit_without_stream`).
        keepalive_while_idle / with_keepalive_while_idle: bool = false;
        /// Calls at a time on one HTTP/2 connection; 0 is the peer's limit (A105).
        max_streams_per_connection / with_max_streams_per_connection: u32 =
            defaults::STREAMS_PER_CONNECTION;
        /// Connections to one endpoint; 0 is no limit of its own.
        max_connections_per_endpoint / with_max_connections_per_endpoint: u32 =
            defaults::CONNECTIONS_PER_ENDPOINT;
        /// Calls after which a connection is replaced; 0 is no limit.
        max_requests_per_connection / with_max_requests_per_connection: u32 =
            defaults::REQUESTS_PER_CONNECTION;
    }
}
