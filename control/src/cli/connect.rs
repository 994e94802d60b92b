//! The connection to the admin socket: HTTP/2 without TLS, protected by the socket's file mode.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mesh_grpc::Channel;
use mesh_grpc::pb::control::admin_client::AdminClient;

use super::failure::Failure;

/// Where `mesh-control` puts its socket by default.
pub(super) const DEFAULT_ADDRESS: &str = "unix:/var/lib/mesh-control/admin.sock";
/// Longest wait for an answer of the control server.
const PATIENCE: Duration = Duration::from_secs(10);
/// An answer about 200 services with all their endpoints is a few megabytes.
const LARGEST_ANSWER: usize = 64 << 20;

/// A client of the admin service.
pub(super) type Admin = AdminClient<Channel>;

/// Connects to the admin socket named by `--control` or `MESH_CONTROL`.
pub(super) async fn admin(address: &str) -> Result<Admin, Failure> {
    let path = socket_path(address)?;
    let channel = Channel::unix(&path);
    match tokio::time::timeout(PATIENCE, channel.connect()).await {
        Ok(Ok(())) => Ok(AdminClient::new(channel)
            .max_decoding_message_size(LARGEST_ANSWER)
            .max_encoding_message_size(LARGEST_ANSWER)),
        Ok(Err(error)) => {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            Err(unreachable(
                &path,
                &source.unwrap_or_else(|| reason(&error.to_string(), &path)),
            ))
        }
        Err(_) => Err(unreachable(&path, "no answer")),
    }
}

/// The last part of an error that names the socket already.
fn reason(error: &str, path: &Path) -> String {
    let own = path.display().to_string();
    let tail = error.split(&own).last().unwrap_or(error);
    tail.trim_start_matches(" cannot be reached: ")
        .trim_end_matches(" [M1002]")
        .to_owned()
}

/// Asks, and waits no longer than a person would.
pub(super) async fn ask<T>(
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(Failure::unreachable(
            format!("the control server answered: {} [M1002]", status.message()),
            "look at the control server's log",
        )),
        Err(_) => Err(Failure::unreachable(
            format!(
                "no answer from the control server in {} s [M1002]",
                PATIENCE.as_secs()
            ),
            "look at the control server's log",
        )),
    }
}

fn unreachable(path: &Path, why: &str) -> Failure {
    Failure::unreachable(
        format!(
            "control server unreachable at {}: {why} [M1002]",
            path.display()
        ),
        "start mesh-control, or give its socket with --control unix:PATH (or MESH_CONTROL)",
    )
}

fn socket_path(address: &str) -> Result<PathBuf, Failure> {
    if let Some(path) = address.strip_prefix("unix:") {
        return Ok(PathBuf::from(path.strip_prefix("//").unwrap_or(path)));
    }
    if address.contains("://") {
        return Err(Failure::usage(
            format!(
                "{address} is where workloads join; administration is on the server's socket [M1003]"
            ),
            format!("run meshctl on the control server's machine with --control {DEFAULT_ADDRESS}"),
        ));
    }
    Ok(PathBuf::from(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_socket() {
        for text in ["unix:/a/b.sock", "unix:///a/b.sock", "/a/b.sock"] {
            assert_eq!(socket_path(text).unwrap(), Path::new("/a/b.sock"));
        }
        let failure = socket_path("https://control:7443").unwrap_err();
        assert!(
            failure.to_string().contains("where workloads join"),
            "{failure}"
        );
    }
}
