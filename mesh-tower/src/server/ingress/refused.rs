//! What is not let in: counted, and told of in the log.
//!
//! Strangers decide how often that happens, so lines have a bounded rate: of each reason ten at once
//! and then one a second for each listener of each worker. The next line says how many were left out.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::{HeaderMap, StatusCode, Uri, header};
use mesh_core::ratelimit::{Cell, Rate};
use mesh_core::telemetry::names;

use crate::mesh::Mesh;
use crate::runtime;
use crate::telemetry::Counter;

/// Lines of one reason that may come at once; after them one a second.
const BURST: u32 = 10;
/// Most characters of a host in a line.
const SHOWN: usize = 255;

/// All reasons.
pub(in crate::server) struct Refused {
    /// TLS for a name without a certificate.
    pub(super) unknown_name: Reason,
    /// TLS without a name.
    pub(super) no_name: Reason,
    /// No HTTP that may be passed on, or more of it than the limits let in.
    pub(super) malformed: Reason,
    /// No host, or none that could be a name.
    pub(super) no_host: Reason,
    /// A host that the connection's certificate is not good for.
    pub(super) misdirected: Reason,
    /// A host or a request that no route names.
    pub(super) no_route: Reason,
}

/// One reason.
pub(super) struct Reason {
    word: &'static str,
    count: Counter,
    lines: Lines,
}

/// When a line is due.
struct Lines {
    rate: Rate,
    cell: Cell,
    left_out: AtomicU64,
}

/// What a client wrote for a host: anything.
struct Shown<'a>(&'a str);

// === impl Refused ===

impl Refused {
    pub(in crate::server) fn new(mesh: &Mesh) -> Self {
        let reason = |word| {
            let labels = [(names::REASON, word)];
            let count = mesh.recorder().counter(names::INGRESS_REFUSED, &labels);
            let lines = Lines::new();
            Reason { word, count, lines }
        };
        Self {
            unknown_name: reason("unknown_name"),
            no_name: reason("no_name"),
            malformed: reason("malformed"),
            no_host: reason("no_host"),
            misdirected: reason("misdirected"),
            no_route: reason("no_route"),
        }
    }
}

// === impl Reason ===

impl Reason {
    /// Counts a refusal and says so, if that is due. A connection that is refused has no status.
    pub(super) fn tell(&self, peer: Option<SocketAddr>, host: &str, status: Option<StatusCode>) {
        self.count.increment(1);
        let Some(left_out) = self.lines.due() else {
            return;
        };
        tracing::warn!(
            target: "mesh::ingress",
            reason = self.word,
            host = %Shown(host),
            peer = peer.map(tracing::field::display),
            status = status.map(|status| status.as_u16()),
            left_out = (left_out > 0).then_some(left_out),
            "not let in"
        );
    }
}

// === impl Lines ===

impl Lines {
    fn new() -> Self {
        Self {
            rate: Rate::new(1, Duration::from_secs(1), BURST),
            cell: Cell::default(),
            left_out: AtomicU64::new(0),
        }
    }

    /// How many lines were left out since the last, if one is due.
    fn due(&self) -> Option<u64> {
        match self.cell.take(self.rate, runtime::now(), 100) {
            Ok(()) => Some(self.left_out.swap(0, Relaxed)),
            Err(_) => {
                self.left_out.fetch_add(1, Relaxed);
                None
            }
        }
    }
}

/// The host that a request names, whatever else is wrong with it.
pub(super) fn host_of<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> &'a str {
    let named = headers.get(header::HOST).map(|host| host.to_str());
    match (uri.authority(), named) {
        (Some(authority), _) => authority.as_str(),
        (None, Some(host)) => host.unwrap_or("?"),
        (None, None) => "-",
    }
}

// === impl Shown ===

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        let mut shown = self.0.chars().take(SHOWN);
        shown.try_for_each(|c| match c {
            ' ' => f.write_char('?'),
            c => write!(f, "{}", c.escape_debug()),
        })
    }
}

#[cfg(test)]
#[allow(clippy::print_stdout, reason = "the figure is what the test shows")]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn strangers_cannot_fill_the_log() {
        let all = Lines::new();
        let (mut lines, mut left_out) = (0, 0);
        for _ in 0..10_000 {
            if let Some(more) = all.due() {
                lines += 1;
                left_out += more;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        println!("10,000 refusals in 10 s: {lines} lines, which tell of {left_out} others");
        assert!((19..=20).contains(&lines), "{lines}");
        assert!(left_out >= 8_900, "{left_out}");
    }

    #[test]
    fn a_host_cannot_forge_a_line() {
        let shown = |host: &str| Shown(host).to_string();
        assert_eq!(shown("a.example.com:8443"), "a.example.com:8443");
        assert_eq!(shown("a\nb peer=x\u{1b}[1m"), "a\\nb?peer=x\\u{1b}[1m");
        assert_eq!(shown(&"a".repeat(9999)).len(), SHOWN);
    }
}
