//! The service of `tests/proto/echo.proto`.

#[allow(unreachable_pub, clippy::all)]
pub mod pb {
    include!("../gen/mesh.test.echo.rs");
}

use std::pin::Pin;

use futures_core::Stream;
use mesh_tower::transport::ConnInfo;
use pb::{Heard, Say, echo_server};
use tokio_stream::StreamExt as _;
use tonic::{Code, Request, Response, Status, Streaming};

#[derive(Debug, Clone, Default)]
pub struct Echo;

fn caller<T>(request: &Request<T>) -> String {
    let info = request.extensions().get::<ConnInfo>();
    info.and_then(|info| info.peer.as_ref())
        .map(ToString::to_string)
        .unwrap_or_default()
}

#[tonic::async_trait]
impl echo_server::Echo for Echo {
    async fn unary(&self, request: Request<Say>) -> Result<Response<Heard>, Status> {
        let caller = caller(&request);
        let say = request.into_inner();
        match say.count {
            0 => Ok(Response::new(Heard {
                text: say.text,
                caller,
            })),
            code => Err(Status::new(Code::from(code as i32), say.text)),
        }
    }

    type ServerStreamStream = Pin<Box<dyn Stream<Item = Result<Heard, Status>> + Send>>;

    async fn server_stream(
        &self,
        request: Request<Say>,
    ) -> Result<Response<Self::ServerStreamStream>, Status> {
        let caller = caller(&request);
        let say = request.into_inner();
        let heard = (0..say.count).map(move |n| {
            Ok(Heard {
                text: format!("{} {n}", say.text),
                caller: caller.clone(),
            })
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(heard))))
    }

    type BidiStream = Pin<Box<dyn Stream<Item = Result<Heard, Status>> + Send>>;

    async fn bidi(
        &self,
        request: Request<Streaming<Say>>,
    ) -> Result<Response<Self::BidiStream>, Status> {
        let caller = caller(&request);
        let heard = request.into_inner().map(move |say| {
            say.map(|say| Heard {
                text: say.text,
                caller: caller.clone(),
            })
        });
        Ok(Response::new(Box::pin(heard)))
    }
}
