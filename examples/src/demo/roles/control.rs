//! The control server, with its state in the demo's directory.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use mesh_control::server::{Config, Server};
use tokio_util::sync::CancellationToken;

use super::lines::{read_commands, start_log, tell};
use super::member::{Error, NAMESPACE};

pub(crate) fn run(state: PathBuf, listen: u16, page: u16) -> Result<(), Error> {
    start_log();
    let stop = CancellationToken::new();
    read_commands(stop.clone(), |_| {});
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let config = Config {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, listen)),
            page: SocketAddr::from((Ipv4Addr::LOCALHOST, page)),
            default_namespace: NAMESPACE.to_owned(),
            ..Config::new(state)
        };
        let server = Server::start(config).await?;
        tell(format_args!(
            "ready grpc={} page={} token={} admin={}",
            server.grpc_addr,
            server.page_addr,
            server.token_path().display(),
            server.admin_socket().display(),
        ));
        stop.cancelled().await;
        server.shutdown().await;
        Ok(())
    })
}
