//! A service of the mesh, until the demo says stop.

use std::convert::Infallible;
use std::net::SocketAddr;

use http::{Request, Response};
use mesh_tower::{BoxError, MeshBody};
use tower_service::Service;

use super::lines::tell;
use super::member::{Error, Member};

pub(crate) async fn serve<S, B>(member: &Member, addr: SocketAddr, service: S) -> Result<(), Error>
where
    S: Service<Request<MeshBody>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let server = member
        .mesh
        .server()
        .bind(&addr.to_string())?
        .serve(service)?;
    tell(format_args!("ready addr={}", server.local_addr()));
    member.stop.cancelled().await;
    member.mesh.shutdown().await;
    Ok(())
}
