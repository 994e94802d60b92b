//! The connection to the admin socket: one HTTP/2 connection, no TLS, protected by the socket's
//! file mode.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use mesh_grpc::pb::control::admin_client::AdminClient;
use tokio::net::UnixStream;
use tonic::body::Body;

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
    let connect = async {
        let stream = UnixStream::connect(&path)
            .await
            .map_err(|error| error.to_string())?;
        let (send, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .handshake::<_, Body>(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        Ok::<_, String>((send, tokio::spawn(connection)))
    };
    match tokio::time::timeout(PATIENCE, connect).await {
        Ok(Ok((send, task))) => {
            let channel = Channel {
                send,
                _task: std::sync::Arc::new(AbortOnDrop(task)),
            };
            let origin = Uri::from_static("http://mesh-control");
            Ok(AdminClient::with_origin(channel, origin)
                .max_decoding_message_size(LARGEST_ANSWER)
                .max_encoding_message_size(LARGEST_ANSWER))
        }
        Ok(Err(why)) => Err(unreachable(&path, &why)),
        Err(_) => Err(unreachable(&path, "no answer")),
    }
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

/// One HTTP/2 connection as a tower service for the generated client.
#[derive(Clone, Debug)]
pub(super) struct Channel {
    send: SendRequest<Body>,
    _task: std::sync::Arc<AbortOnDrop<Result<(), hyper::Error>>>,
}

#[derive(Debug)]
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl tower_service::Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.send.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.send.send_request(request))
    }
}

const _: () = {
    const fn is_send<T: Send + Sync>() {}
    is_send::<Channel>();
};

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
