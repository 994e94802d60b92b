//! A request that asks for a tunnel: it has a connection of its own, which is never shared.

use std::sync::Arc;

use http::header::UPGRADE;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use mesh_core::error::MeshError;

use super::{Held, Shared, answer};
use crate::body::MeshBody;
use crate::tls::Alpn;
use crate::transport::{ConnInfo, Protocol, error, h1};
use crate::upgrade::{Lasting, Life, accepts};

impl Shared {
    /// Not where HTTP/2 is spoken by prior knowledge: there the request goes on without asking.
    pub(super) fn speaks_http1(&self) -> bool {
        match self.config.protocol {
            Protocol::Http1 | Protocol::Auto => true,
            Protocol::Http2 => self.config.tls.is_some(),
            Protocol::Bytes => false,
        }
    }

    pub(super) async fn call_upgrade(
        self: &Arc<Self>,
        mut request: Request<MeshBody>,
    ) -> Result<Response<MeshBody>, MeshError> {
        self.names.for_http1(&mut request);
        let asked = request.headers().get(UPGRADE).cloned();
        let addr = self.config.addr;
        // HTTP/1.1 over TLS too, whatever the others agreed on.
        let raw = self.connect(Alpn::Http1).await?;
        let h1::Alone {
            mut send,
            info,
            late,
        } = h1::open_alone(raw, self)
            .await
            .map_err(|error| error::handshake(addr, error, None))?;
        match send.try_send_request(request).await {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                switched(response, asked.as_ref(), info)
                    .ok_or_else(|| error::unfit_answer(addr, "it switched protocols unasked"))
            }
            Ok(response) => Ok(answer(response, Held::Alone(send), &info)),
            Err(mut failed) => {
                let unsent = failed.take_message().is_some();
                let late = late.as_ref().and_then(|late| late.get());
                Err(error::call(addr, failed.into_error(), unsent, late))
            }
        }
    }
}

/// The answer, whose body lasts as long as the tunnel; `None` for one that nobody has asked for.
fn switched(
    response: Response<Incoming>,
    asked: Option<&HeaderValue>,
    info: Arc<ConnInfo>,
) -> Option<Response<MeshBody>> {
    let (mut head, _) = response.into_parts();
    asked.filter(|asked| accepts(asked, &head.headers))?;
    let life = Life::default();
    let body = MeshBody::lasting(Lasting::new(&life, Some(info)));
    head.extensions.insert(life);
    Some(Response::from_parts(head, body))
}
