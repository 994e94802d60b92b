//! A listener for TLS that is passed on untouched, by the name that the client asks for.

use std::net::SocketAddr;
use std::time::Duration;

use mesh_core::error::ErrorKind;
use mesh_tower::Mesh;
use mesh_tower::tcp::{Carried, Opening, sniff};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Takes connections until `stop`.
pub(crate) async fn serve(
    mesh: Mesh,
    listener: TcpListener,
    carried: Carried,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                let _ = stream.set_nodelay(true);
                let mesh = mesh.clone();
                carried.spawn(|cut| async move { one(&mesh, stream, from, cut).await });
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed on the SNI listener");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn one(mesh: &Mesh, stream: TcpStream, from: SocketAddr, cut: CancellationToken) {
    let name = match sniff(&stream).await {
        Ok(Opening::Tls(Some(name))) => name,
        Ok(Opening::Tls(None)) => {
            let what = "a TLS ClientHello without a server name (SNI)";
            return mesh.refuse(Box::new(stream), from, ErrorKind::NoRoute, what);
        }
        Ok(_) => {
            let what = "no TLS ClientHello";
            return mesh.refuse(Box::new(stream), from, ErrorKind::Protocol, what);
        }
        Err(_) => return,
    };
    let Some(found) = mesh.find_host(&name, None) else {
        let what = format!("{name:.100} is no service of the policy");
        return mesh.refuse(Box::new(stream), from, ErrorKind::NoRoute, &what);
    };
    let mut client = mesh.pass_through(&found.target());
    let _ = client.carry(Box::new(stream), from, cut.cancelled()).await;
}
