//! The error of programs that call through the mesh.

use std::fmt;

use mesh_core::error::{BoxError, MeshError};
use tonic::Status;

/// Any error that `main` of a mesh program meets: one line with its code.
pub struct Error(Kind);

enum Kind {
    Mesh(MeshError),
    Status(Box<Status>),
    Other(BoxError),
}

/// Result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

// === impl Error ===

impl Error {
    /// The mesh error in it, if the mesh made it.
    pub fn mesh_error(&self) -> Option<MeshError> {
        match &self.0 {
            Kind::Mesh(error) => Some(error.clone()),
            Kind::Status(status) => crate::mesh_error(status),
            Kind::Other(error) => error.downcast_ref::<MeshError>().cloned(),
        }
    }
}

impl From<MeshError> for Error {
    fn from(error: MeshError) -> Self {
        Self(Kind::Mesh(error))
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self(Kind::Status(Box::new(status)))
    }
}

impl From<BoxError> for Error {
    fn from(error: BoxError) -> Self {
        Self(Kind::Other(error))
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self(Kind::Other(error.into()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Mesh(error) => fmt::Display::fmt(error, f),
            Kind::Status(status) => match crate::mesh_error(status) {
                Some(error) => fmt::Display::fmt(&error, f),
                None => write!(f, "{}: {}", status.code(), status.message()),
            },
            Kind::Other(error) => fmt::Display::fmt(error, f),
        }
    }
}

/// As `Display`: this is what `main` prints.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Kind::Mesh(error) => error.source(),
            Kind::Status(status) => status.source(),
            Kind::Other(error) => error.source(),
        }
    }
}
