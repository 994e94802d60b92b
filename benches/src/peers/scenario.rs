//! What is sent, and through how many proxies.

use std::fmt;
use std::str::FromStr;

/// What travels from the caller to the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// A small GET over HTTP/1.1, kept alive.
    Http1,
    /// A unary gRPC call over HTTP/2, eight at a time on a connection.
    Grpc,
    /// A small message and its echo, without a protocol.
    Tcp,
    /// A small frame and its echo after an HTTP/1.1 upgrade.
    WebSocket,
}

/// One row of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// HTTP/1.1 through one proxy in plaintext.
    Hop,
    /// gRPC through one proxy in plaintext.
    GrpcHop,
    /// HTTP/1.1 through two proxies, mutual TLS between them.
    Pair,
    /// gRPC through two proxies, mutual TLS between them.
    GrpcPair,
    /// TCP through one proxy.
    Tcp,
    /// WebSocket through one proxy in plaintext.
    WebSocket,
}

// === impl Scenario ===

impl Scenario {
    /// All, in the order of the table.
    pub const ALL: [Self; 6] = [
        Self::Hop,
        Self::GrpcHop,
        Self::Pair,
        Self::GrpcPair,
        Self::Tcp,
        Self::WebSocket,
    ];

    /// What is sent.
    #[must_use]
    pub fn traffic(self) -> Traffic {
        match self {
            Self::Hop | Self::Pair => Traffic::Http1,
            Self::GrpcHop | Self::GrpcPair => Traffic::Grpc,
            Self::Tcp => Traffic::Tcp,
            Self::WebSocket => Traffic::WebSocket,
        }
    }

    /// Whether two proxies with mutual TLS between them stand in the way.
    #[must_use]
    pub fn is_pair(self) -> bool {
        matches!(self, Self::Pair | Self::GrpcPair)
    }

    /// The word for it on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Hop => "hop",
            Self::GrpcHop => "grpc-hop",
            Self::Pair => "pair",
            Self::GrpcPair => "grpc-pair",
            Self::Tcp => "tcp",
            Self::WebSocket => "websocket",
        }
    }

    /// The heading in the report.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Hop => "HTTP/1.1, one plaintext hop",
            Self::GrpcHop => "gRPC, one plaintext hop",
            Self::Pair => "HTTP/1.1, a pair with mutual TLS between",
            Self::GrpcPair => "gRPC, a pair with mutual TLS between",
            Self::Tcp => "TCP, one hop",
            Self::WebSocket => "WebSocket, one plaintext hop",
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        by_word(&Self::ALL, Self::word, text)
            .map_err(|known| format!("`{text}` is no scenario; {known}"))
    }
}

/// The one of `all` whose word is `text`, or which words there are.
pub(super) fn by_word<T: Copy>(
    all: &[T],
    word: impl Fn(T) -> &'static str,
    text: &str,
) -> Result<T, String> {
    let found = all.iter().copied().find(|one| word(*one) == text);
    found.ok_or_else(|| {
        let words: Vec<_> = all.iter().map(|one| word(*one)).collect();
        format!("there are {}", words.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_back() {
        for one in Scenario::ALL {
            assert_eq!(one.word().parse::<Scenario>().unwrap(), one);
        }
        assert!("hops".parse::<Scenario>().unwrap_err().contains("grpc-hop"));
    }
}
