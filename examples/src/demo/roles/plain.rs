//! Plain HTTP on loopback, for users and for the old application.

use std::net::SocketAddr;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::lines::tell;
use super::member::{Error, Member};

/// Serves users until the demo says stop.
pub(crate) async fn serve(member: &Member, addr: SocketAddr, router: Router) -> Result<(), Error> {
    let listener = TcpListener::bind(addr).await?;
    tell(format_args!("ready addr={}", listener.local_addr()?));
    accept(listener, router, member.stop.clone()).await;
    member.mesh.shutdown().await;
    Ok(())
}

/// Accepts until `stop`; calls in flight end first.
pub(crate) async fn accept(listener: TcpListener, router: Router, stop: CancellationToken) {
    let connections = TaskTracker::new();
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let Ok((stream, _)) = accepted else { continue };
        let (router, stop) = (router.clone(), stop.clone());
        connections.spawn(async move {
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder.http1().timer(TokioTimer::new());
            let service = TowerToHyperService::new(router);
            let serving = builder.serve_connection(TokioIo::new(stream), service);
            tokio::pin!(serving);
            let ended = tokio::select! {
                ended = serving.as_mut() => ended,
                () = stop.cancelled() => {
                    serving.as_mut().graceful_shutdown();
                    serving.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(error, "a connection ended early");
            }
        });
    }
    connections.close();
    connections.wait().await;
}
