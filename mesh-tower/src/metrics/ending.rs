use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode};
use mesh_core::classify::{self, Class, FailureKind};
use mesh_core::error::{Code, ErrorKind, MeshError};

use super::Edge;
use crate::runtime;

/// How a call ended, as far as is known: filled in from the head, the trailers or an error, and
/// read once when the call is over.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// Position in [`CLASSES`].
    class: AtomicU8,
    code: AtomicU32,
    /// Nanoseconds to the response's headers, 0 while there are none.
    headers: AtomicU64,
}

/// The end of a call in two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ended {
    pub(crate) class: Class,
    /// The HTTP status, or 10,000 plus the number of a mesh code, or 20,000 plus a gRPC status.
    pub(crate) code: u32,
}

const CLASSES: [Class; 9] = [
    Class::Cancelled,
    Class::Success,
    Class::ClientError,
    Class::Failure(FailureKind::Server),
    Class::Failure(FailureKind::Unavailable),
    Class::Failure(FailureKind::Overload),
    Class::Failure(FailureKind::Timeout),
    Class::Failure(FailureKind::Transport),
    Class::Failure(FailureKind::Mesh),
];

const MESH: u32 = 10_000;

// === impl Ended ===

impl Ended {
    pub(crate) const GRPC_OK: u32 = 20_000;

    pub(crate) fn error(error: &MeshError) -> Self {
        Self {
            class: classify::error(error),
            code: MESH + u32::from(error.code().number()),
        }
    }

    /// Made by this process's mesh, not answered by the peer.
    pub(crate) fn is_of_mesh(self) -> bool {
        (MESH..Self::GRPC_OK).contains(&self.code)
    }

    pub(crate) fn of_kind(kind: ErrorKind) -> u32 {
        MESH + u32::from(kind.code().number())
    }

    pub(crate) fn http(status: StatusCode, headers: &HeaderMap) -> Self {
        Self {
            class: classify::http(status, headers),
            code: u32::from(status.as_u16()),
        }
    }

    pub(crate) fn grpc(code: u32) -> Self {
        Self {
            class: classify::grpc(code),
            code: Self::GRPC_OK + code.min(99),
        }
    }

    /// What the head of a response says; `None` while a gRPC status is still to come in trailers.
    pub(crate) fn head<B>(grpc: bool, response: &http::Response<B>) -> Option<Self> {
        if grpc {
            if let Some(error) = response.extensions().get::<MeshError>() {
                return Some(Self::error(error));
            }
            if let Some(code) = classify::grpc::status(response.headers()) {
                return Some(Self::grpc(code));
            }
            if response.status().is_success() {
                return None;
            }
        }
        Some(Self::http(response.status(), response.headers()))
    }

    pub(crate) fn text(self) -> String {
        code_text(self.code)
    }

    pub(crate) fn text_of(code: u32) -> String {
        code_text(code)
    }
}

// === impl Ending ===

impl Ending {
    pub(crate) fn set(&self, ended: Ended) {
        let class = CLASSES
            .iter()
            .position(|class| *class == ended.class)
            .unwrap_or(0);
        self.code.store(ended.code, Ordering::Relaxed);
        self.class.store(class as u8, Ordering::Relaxed);
    }

    pub(crate) fn headers_after(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1);
        self.headers.store(nanos, Ordering::Relaxed);
    }

    /// Counts the call. Called once, when nothing of it is left.
    pub(crate) fn settle(&self, edge: &Edge, started: Instant, retried: bool) {
        let class = usize::from(self.class.load(Ordering::Relaxed));
        let ended = Ended {
            class: CLASSES.get(class).copied().unwrap_or(Class::Cancelled),
            code: self.code.load(Ordering::Relaxed),
        };
        let headers = match self.headers.load(Ordering::Relaxed) {
            0 => runtime::now().saturating_duration_since(started),
            nanos => Duration::from_nanos(nanos),
        };
        edge.finish(ended, headers, retried);
    }
}

/// The text of a code as [`Ended`] has it: `M2003`, `503`, `grpc-14`.
pub(super) fn code_text(code: u32) -> String {
    match code {
        Ended::GRPC_OK.. => format!("grpc-{}", code - Ended::GRPC_OK),
        MESH.. => mesh_code(code)
            .unwrap_or(ErrorKind::Internal.code())
            .to_string(),
        0 => "cancelled".to_owned(),
        status => status.to_string(),
    }
}

/// The label of the error that the mesh itself answered with, if it did.
pub(super) fn error_type(code: u32) -> Option<&'static str> {
    let code = mesh_code(code)?;
    Some(
        ErrorKind::from_code(code)
            .unwrap_or(ErrorKind::Internal)
            .label(),
    )
}

fn mesh_code(code: u32) -> Option<Code> {
    if !(MESH..Ended::GRPC_OK).contains(&code) {
        return None;
    }
    u16::try_from(code - MESH).ok().and_then(Code::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_apart() {
        let error = MeshError::new(ErrorKind::Ejected, "x");
        assert_eq!(Ended::error(&error).text(), "M2003");
        assert_eq!(error_type(Ended::error(&error).code), Some("ejected"));
        assert_eq!(Ended::grpc(14).text(), "grpc-14");
        assert!(Ended::grpc(14).class.is_failure());
        assert!(!Ended::grpc(5).class.is_failure());
        let ended = Ended::http(StatusCode::SERVICE_UNAVAILABLE, &HeaderMap::new());
        assert_eq!(ended.text(), "503");
        assert_eq!(error_type(ended.code), None);
    }

    #[test]
    fn a_grpc_answer_without_a_status_in_its_head_is_open() {
        let response = http::Response::new(());
        assert_eq!(Ended::head(true, &response), None);
        assert!(Ended::head(false, &response).is_some());
    }
}
