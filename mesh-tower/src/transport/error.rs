//! What hyper's errors mean for the mesh: the kind, and whether the request was processed.

use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mesh_core::error::{ErrorKind, Flags, MeshError};

use crate::tls::{LateFailure, TlsFailure};

const NEVER_SENT: Flags = Flags {
    never_sent: true,
    refused: false,
    non_retryable: false,
    broken: false,
};
const REFUSED: Flags = Flags {
    never_sent: false,
    refused: true,
    non_retryable: false,
    broken: false,
};
/// It may have been processed, and nobody is there any more to ask.
const BROKEN: Flags = Flags {
    never_sent: false,
    refused: false,
    non_retryable: false,
    broken: true,
};

/// TCP failed.
pub(super) fn connect(addr: SocketAddr, error: io::Error) -> MeshError {
    let what = match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("{addr}: connection refused"),
        io::ErrorKind::ConnectionReset => format!("{addr}: connection reset while connecting"),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            format!("{addr}: no route to the host")
        }
        _ => format!("{addr}: {error}"),
    };
    MeshError::new(ErrorKind::Connect, what)
        .with_source(error)
        .with_flags(NEVER_SENT)
}

/// TCP took too long.
pub(super) fn connect_timeout(addr: SocketAddr, limit: Duration) -> MeshError {
    MeshError::new(
        ErrorKind::Connect,
        format!("{addr}: no connection within {limit:?}"),
    )
    .with_flags(NEVER_SENT)
}

/// The handshake failed.
pub(super) fn tls(addr: SocketAddr, failure: TlsFailure) -> MeshError {
    failure.into_error(addr).with_flags(NEVER_SENT)
}

/// The HTTP/2 preface or the like failed on a new connection.
pub(super) fn handshake(
    addr: SocketAddr,
    error: hyper::Error,
    late: Option<&LateFailure>,
) -> MeshError {
    call(addr, error, true, late.and_then(|late| late.get()))
}

/// The connection was accepted, and then nobody spoke.
pub(super) fn silent(addr: SocketAddr, limit: Duration) -> MeshError {
    MeshError::new(
        ErrorKind::Connect,
        format!("{addr}: connected, but no HTTP/2 settings within {limit:?}"),
    )
    .with_flags(NEVER_SENT)
}

/// A stream above the peer's limit waits in hyper to be opened, and a GOAWAY makes hyper forget it:
/// the caller is told that the task is gone. hyper has no other name for this than its text.
fn is_never_opened(error: &hyper::Error) -> bool {
    error.is_user() && error.to_string().starts_with("dispatch task is gone")
}

/// gRFC A8: the peer wants fewer pings.
pub(super) fn is_too_many_pings(error: &hyper::Error) -> bool {
    find::<h2::Error>(error).is_some_and(|h2| {
        h2.is_remote() && h2.is_go_away() && h2.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM)
    })
}

/// The pool has been closed.
pub(super) fn closed(addr: SocketAddr) -> MeshError {
    MeshError::new(
        ErrorKind::Connect,
        format!("{addr}: the endpoint was removed"),
    )
    .with_flags(NEVER_SENT)
}

/// The request cannot be put on a connection of this protocol.
pub(super) fn unfit(addr: SocketAddr, what: &str) -> MeshError {
    let flags = Flags {
        never_sent: true,
        non_retryable: true,
        ..Flags::default()
    };
    MeshError::new(ErrorKind::Protocol, format!("{addr}: {what}")).with_flags(flags)
}

/// An answer that cannot be passed on.
pub(super) fn unfit_answer(addr: SocketAddr, what: &str) -> MeshError {
    MeshError::new(ErrorKind::Protocol, format!("{addr}: {what}"))
}

/// A call failed before its answer's headers. `unsent`: hyper gave the request back. `late`: what
/// became of TLS after the handshake.
pub(super) fn call(
    addr: SocketAddr,
    error: hyper::Error,
    unsent: bool,
    late: Option<&TlsFailure>,
) -> MeshError {
    // With TLS 1.3 a server refuses our certificate after our side of the handshake is done. What
    // was written since then was never decrypted into a request.
    if let Some(failure) = TlsFailure::find(&error).or_else(|| late.cloned()) {
        return failure
            .into_error(addr)
            .with_flags(if unsent { NEVER_SENT } else { REFUSED });
    }
    if unsent {
        return MeshError::new(
            ErrorKind::Connect,
            format!("{addr}: closed before the request"),
        )
        .with_source(error)
        .with_flags(NEVER_SENT);
    }
    if let Some(h2) = find::<h2::Error>(&error) {
        return stream(addr, h2, &error).with_source(error);
    }
    if is_never_opened(&error) {
        let what = format!("{addr}: GOAWAY before the request's stream was opened");
        return MeshError::new(ErrorKind::Connect, what)
            .with_source(error)
            .with_flags(REFUSED);
    }
    let mut flags = BROKEN;
    let what = if error.is_timeout() {
        "the connection is dead: a keep-alive ping had no answer"
    } else if error.is_parse() {
        flags = Flags::default();
        "the answer is not HTTP"
    } else if error.is_incomplete_message() {
        "the connection was closed before an answer"
    } else if error.is_body_write_aborted() || error.is_user() {
        // Ours, not the peer's: another try would meet the same body.
        let flags = Flags {
            non_retryable: true,
            ..Flags::default()
        };
        return MeshError::new(
            ErrorKind::Protocol,
            format!("{addr}: the request's body broke off"),
        )
        .with_source(error)
        .with_flags(flags);
    } else if let Some(io) = find::<io::Error>(&error) {
        let what = format!("{addr}: the connection broke: {io}");
        return MeshError::new(ErrorKind::Protocol, what)
            .with_source(error)
            .with_flags(flags);
    } else {
        return MeshError::new(ErrorKind::Protocol, format!("{addr}: {error}")).with_source(error);
    };
    MeshError::new(ErrorKind::Protocol, format!("{addr}: {what}"))
        .with_source(error)
        .with_flags(flags)
}

/// An HTTP/2 stream ended without an answer.
fn stream(addr: SocketAddr, h2: &h2::Error, error: &hyper::Error) -> MeshError {
    let reason = h2.reason();
    // RFC 9113 section 8.7: REFUSED_STREAM, and a stream above GOAWAY's last id (h2 reports GOAWAY
    // for those only), were not processed.
    if h2.is_remote() && (h2.is_go_away() || reason == Some(h2::Reason::REFUSED_STREAM)) {
        let what = if h2.is_go_away() {
            "GOAWAY before the request"
        } else {
            "stream refused"
        };
        return MeshError::new(ErrorKind::Connect, format!("{addr}: {what}")).with_flags(REFUSED);
    }
    let (flags, what) = match reason {
        _ if error.is_timeout() => (
            BROKEN,
            "the connection is dead: a ping had no answer".to_owned(),
        ),
        Some(reason) if h2.is_remote() => {
            (Flags::default(), format!("the stream was reset: {reason}"))
        }
        Some(reason) => (Flags::default(), format!("the peer broke HTTP/2: {reason}")),
        None => (BROKEN, format!("the connection broke: {h2}")),
    };
    MeshError::new(ErrorKind::Protocol, format!("{addr}: {what}")).with_flags(flags)
}

fn find<'e, T: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
