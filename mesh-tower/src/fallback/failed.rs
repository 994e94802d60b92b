use http::Response;
use mesh_core::{
    classify::{self, Class},
    error::MeshError,
};

use crate::body::MeshBody;

/// A call that failed.
#[derive(Debug)]
pub struct Failed {
    class: Class,
    result: Result<Response<MeshBody>, MeshError>,
}

// === impl Failed ===

impl Failed {
    /// The failure that a result is; the answer itself if it is none.
    #[expect(
        clippy::result_large_err,
        reason = "the answer is the usual case and moves on at once"
    )]
    pub(super) fn of(
        result: Result<Response<MeshBody>, MeshError>,
        grpc: bool,
    ) -> Result<Self, Response<MeshBody>> {
        let class = match &result {
            Err(error) => classify::error(error),
            Ok(response) => match classify::grpc::status(response.headers()) {
                Some(code) if grpc => classify::grpc(code),
                _ => classify::http(response.status(), response.headers()),
            },
        };
        match result {
            Ok(response) if !class.is_failure() => Err(response),
            result => Ok(Self { class, result }),
        }
    }

    /// What kind of failure it is.
    pub fn class(&self) -> Class {
        self.class
    }

    /// The error, if there was no answer. An answer of a peer's mesh is an answer.
    pub fn error(&self) -> Option<&MeshError> {
        self.result.as_ref().err()
    }

    /// The answer that counts as a failure, if there was one.
    pub fn answer(&self) -> Option<&Response<MeshBody>> {
        self.result.as_ref().ok()
    }

    /// What it would have come to without a fallback.
    ///
    /// # Errors
    /// The error of the call, if there was no answer.
    pub fn into_result(self) -> Result<Response<MeshBody>, MeshError> {
        self.result
    }
}
