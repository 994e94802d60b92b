//! `MeshError` and `tonic::Status`, both ways, and the deadline of a gRPC call.

use std::time::Duration;

use http::HeaderName;
use mesh_core::{
    deadline,
    error::{Code, ErrorKind, MeshError},
    metadata,
};
use tonic::{
    Status,
    metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap},
};

/// The status that a gRPC caller sees of a mesh error: the code of its kind, its one line, and its `M####` in the
/// metadata `mesh-reason`. The error is the status's source.
pub fn status(error: &MeshError) -> Status {
    let code = i32::try_from(error.grpc_code()).unwrap_or(2).into();
    let mut status = Status::new(code, error.to_string());
    if let Ok(reason) = error.code().to_string().parse() {
        insert(status.metadata_mut(), &metadata::REASON, reason);
    }
    status.set_source(std::sync::Arc::new(error.clone()));
    status
}

/// The mesh error that a status stands for: the original if the status was made in this process, else one of the kind
/// that `mesh-reason` names, else `None`: the application answered, not the mesh.
pub fn mesh_error(status: &Status) -> Option<MeshError> {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<MeshError>() {
            return Some(error.clone());
        }
        source = error.source();
    }
    let code: Code = status
        .metadata()
        .get(metadata::REASON.as_str())?
        .to_str()
        .ok()?
        .parse()
        .ok()?;
    let kind = ErrorKind::from_code(code).unwrap_or(ErrorKind::Internal);
    Some(MeshError::new(kind, strip_code(status.message(), code)).with_code(code))
}

/// The message without the code at its end, which `Display` adds again.
fn strip_code(message: &str, code: Code) -> &str {
    message
        .strip_suffix(&format!("[{code}]"))
        .unwrap_or(message)
        .trim_end()
}

/// Time left according to `grpc-timeout`.
pub fn timeout(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata
        .get(metadata::GRPC_TIMEOUT.as_str())?
        .to_str()
        .ok()?;
    deadline::parse_grpc_timeout(text)
}

/// Sets `grpc-timeout`: the time that a call may take.
pub fn set_timeout(metadata: &mut MetadataMap, left: Duration) {
    if let Ok(text) = deadline::format_grpc_timeout(left).as_str().parse() {
        insert(metadata, &metadata::GRPC_TIMEOUT, text);
    }
}

fn insert(metadata: &mut MetadataMap, name: &HeaderName, value: AsciiMetadataValue) {
    if let Ok(key) = AsciiMetadataKey::from_bytes(name.as_str().as_bytes()) {
        metadata.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_the_wire_with_its_code() {
        for kind in ErrorKind::ALL {
            let error = MeshError::new(kind, "something happened");
            let status = status(&error);
            assert_eq!(status.code() as u32, kind.grpc_code());
            let back = mesh_error(&status).expect("the original");
            assert_eq!(back.to_string(), error.to_string());

            let mut remote = Status::new(status.code(), status.message());
            *remote.metadata_mut() = status.metadata().clone();
            let back = mesh_error(&remote).expect("named by its code");
            assert_eq!((back.kind(), back.to_string()), (kind, error.to_string()));
        }
    }

    #[test]
    fn an_answer_of_the_application_is_no_mesh_error() {
        assert!(mesh_error(&Status::not_found("no such review")).is_none());
        let mut odd = Status::unavailable("no");
        odd.metadata_mut()
            .insert("mesh-reason", "nonsense".parse().unwrap());
        assert!(mesh_error(&odd).is_none());
    }

    #[test]
    fn timeouts_survive_the_wire() {
        let mut metadata = MetadataMap::new();
        assert_eq!(timeout(&metadata), None);
        set_timeout(&mut metadata, Duration::from_millis(1500));
        assert_eq!(timeout(&metadata), Some(Duration::from_millis(1500)));
    }
}
