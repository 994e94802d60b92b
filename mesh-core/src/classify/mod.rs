//! A response becomes a class once; metrics, ejection, retries and the budget all use that class.
//!
//! | class | counts as a failure of the endpoint | may be retried by policy |
//! | --- | --- | --- |
//! | `Success` | no | no |
//! | `ClientError` | no: the caller is at fault, or the answer is the application's | only if its code is listed |
//! | `Failure(Server)` | yes | if its code is listed |
//! | `Failure(Unavailable)`, `Failure(Overload)` | yes | if its code is listed |
//! | `Failure(Timeout)` | yes | if its code is listed |
//! | `Failure(Transport)` | yes | if provably not processed, or the method is idempotent |
//! | `Failure(Mesh)` | no: the peer's mesh answered, not the endpoint | if the peer says it was not processed |
//! | `Cancelled` | no | no |

mod from_error;
pub mod grpc;
pub mod http;

pub use self::{grpc::grpc, http::http};
pub use from_error::error;

use std::fmt;

/// What a response means for everything that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// The call did what it was asked.
    Success,
    /// The request was at fault, or the answer is part of the application's protocol.
    ClientError,
    /// The endpoint, or the way to it, failed.
    Failure(FailureKind),
    /// The caller went away before the answer.
    Cancelled,
}

/// How a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The server says that it failed: 500, INTERNAL, UNKNOWN, DATA_LOSS.
    Server,
    /// The server or something before it cannot serve now: 502, 503, UNAVAILABLE.
    Unavailable,
    /// The server sheds load: 429, RESOURCE_EXHAUSTED, 503 with `Retry-After`.
    Overload,
    /// No answer in time: 504, DEADLINE_EXCEEDED, an attempt timeout.
    Timeout,
    /// The connection could not be made or broke.
    Transport,
    /// The mesh answered (denied, draining, no endpoint), not the application.
    Mesh,
}

// === impl Class ===

impl Class {
    /// The call failed, as its caller sees it.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Failure(_))
    }

    /// The failure counts against the endpoint (ejection, load estimate).
    pub const fn is_endpoint_failure(self) -> bool {
        matches!(self, Self::Failure(kind) if !matches!(kind, FailureKind::Mesh))
    }

    /// The server asked for less load.
    pub const fn is_overload(self) -> bool {
        matches!(self, Self::Failure(FailureKind::Overload))
    }

    /// The word used in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::ClientError => "client_error",
            Self::Failure(FailureKind::Server) => "server_error",
            Self::Failure(FailureKind::Unavailable) => "unavailable",
            Self::Failure(FailureKind::Overload) => "overload",
            Self::Failure(FailureKind::Timeout) => "timeout",
            Self::Failure(FailureKind::Transport) => "transport",
            Self::Failure(FailureKind::Mesh) => "mesh",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
