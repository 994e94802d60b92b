use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mesh_core::error::ErrorKind;
use mesh_tower::Mesh;
use mesh_tower::tcp::{Carried, Opening, sniff};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::Requests;

/// After an accept that failed (out of descriptors): the loop must not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Takes redirected connections until `stop`.
pub(crate) async fn serve(
    mesh: Mesh,
    listener: TcpListener,
    requests: Arc<Requests>,
    carried: Carried,
    stop: CancellationToken,
) {
    let Ok(own) = listener.local_addr() else {
        return;
    };
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                let _ = stream.set_nodelay(true);
                let (mesh, requests) = (mesh.clone(), requests.clone());
                carried.spawn(|cut| async move {
                    one(&mesh, &requests, stream, from, own, cut).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed on the transparent listener");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    requests.shutdown().await;
}

/// Where a connection was going before it was redirected.
fn original(stream: &TcpStream) -> Option<SocketAddr> {
    let socket = SockRef::from(stream);
    // A listener on `[::]` has connections of IPv4 too, as mapped addresses.
    let addr = match stream.local_addr().ok()?.ip().to_canonical() {
        IpAddr::V4(_) => socket.original_dst_v4(),
        IpAddr::V6(_) => socket.original_dst_v6(),
    };
    addr.ok()?.as_socket()
}

async fn one(
    mesh: &Mesh,
    requests: &Requests,
    stream: TcpStream,
    from: SocketAddr,
    own: SocketAddr,
    cut: CancellationToken,
) {
    let to = match original(&stream) {
        // Made to the listener itself: to go there would come back here.
        Some(to) if to != own && Some(to) != stream.local_addr().ok() => to,
        _ => {
            let what = "a connection to the transparent listener that was not redirected";
            mesh.refuse(Box::new(stream), from, ErrorKind::NoRoute, what);
            return;
        }
    };
    let known = mesh.find_addr(to);
    if let Some(known) = known.as_ref().filter(|known| known.is_tcp()) {
        let mut client = mesh.tcp(&known.target());
        let _ = client.carry(Box::new(stream), from, cut.cancelled()).await;
        return;
    }
    let Ok(opening) = sniff(&stream).await else {
        return;
    };
    match (opening, known) {
        (Opening::Http(_), Some(known)) => {
            requests.to(&known.target(), Box::new(stream), from).await;
        }
        (Opening::Http(Some(host)), None) if knows(mesh, &host, to.port()) => {
            requests.by_host(Box::new(stream), from).await;
        }
        (Opening::Tls(Some(name)), _) if mesh.find_host(&name, None).is_some() => {
            let found = mesh.find_host(&name, Some(to.port()));
            let found = found.or_else(|| mesh.find_host(&name, None));
            let target = found.map_or(name, |found| found.target());
            let mut client = mesh.pass_through(&target);
            let _ = client.carry(Box::new(stream), from, cut.cancelled()).await;
        }
        _ => {
            // Its end is in the access log.
            let _ = mesh.pass(Box::new(stream), from, to, cut.cancelled()).await;
        }
    }
}

/// Whether requests for a host can be routed. A Host without a port means the one connected to.
fn knows(mesh: &Mesh, host: &str, port: u16) -> bool {
    let (host, port) = match host.rsplit_once(':') {
        Some((name, given)) if !given.contains(']') => (name, given.parse().ok()),
        _ => (host, Some(port)),
    };
    // As the proxy would route it: by the name alone if the Host has no port.
    mesh.find_host(host, port).is_some() || mesh.find_host(host, None).is_some()
}
