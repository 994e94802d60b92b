//! One connection of bytes to one endpoint, which says whether it takes them.

use std::time::Duration;

use mesh_core::error::{Code, ErrorKind, Flags, MeshError};
use mesh_core::identity::SpiffeId;
use tokio::io::AsyncReadExt;

use crate::transport::{BoxIo, Bytes, EndpointPool, Kept};

/// An endpoint's word on whether bytes may follow, after its application was connected to.
const WORD_WITHIN: Duration = Duration::from_secs(10);

type Dialled = (BoxIo, Option<SpiffeId>, Kept);

/// Makes a connection as a client would, and closes it.
pub(crate) async fn knock(pool: &EndpointPool) -> Result<(), MeshError> {
    dial(pool, false).await.map(drop)
}

/// A connection on which the endpoint has said that bytes may follow.
pub(super) async fn dial(pool: &EndpointPool, through: bool) -> Result<Dialled, MeshError> {
    let Bytes {
        mut io,
        info,
        late,
        kept,
    } = pool.bytes(through).await?;
    if info.peer.is_none() {
        return Ok((io, None, kept));
    }
    let addr = pool.config().addr;
    let word = tokio::time::timeout(WORD_WITHIN, io.read_u16()).await;
    let code = match word {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            // With TLS 1.3 a server refuses our certificate after our side of the handshake.
            if let Some(failure) = late.as_ref().and_then(|late| late.get()) {
                return Err(failure.clone().into_error(addr).with_flags(UNSENT));
            }
            let what = format!("{addr}: the connection broke before the endpoint took it");
            return Err(MeshError::new(ErrorKind::Connect, what)
                .with_source(error)
                .with_flags(UNSENT));
        }
        Err(_) => {
            let what = format!("{addr}: no word on whether it takes bytes within {WORD_WITHIN:?}");
            return Err(MeshError::new(ErrorKind::Connect, what).with_flags(UNSENT));
        }
    };
    if code == 0 {
        return Ok((io, info.peer, kept));
    }
    Err(refused(&addr.to_string(), code))
}

const UNSENT: Flags = Flags {
    never_sent: true,
    refused: false,
    non_retryable: false,
    broken: false,
};

/// What the endpoint's mesh said instead of taking bytes.
fn refused(addr: &str, number: u16) -> MeshError {
    let kind = Code::new(number)
        .and_then(|code| ErrorKind::ALL.into_iter().find(|kind| kind.code() == code));
    match kind {
        Some(ErrorKind::Denied) => MeshError::new(
            ErrorKind::Denied,
            format!("{addr}: its access policy does not let us in"),
        )
        .with_flags(Flags {
            never_sent: true,
            non_retryable: true,
            ..Flags::default()
        }),
        Some(ErrorKind::Connect) => MeshError::new(
            ErrorKind::Connect,
            format!("{addr}: its application does not accept connections"),
        )
        .with_flags(UNSENT),
        _ => MeshError::new(
            ErrorKind::Protocol,
            format!("{addr}: refused with code {number}"),
        )
        .with_flags(UNSENT),
    }
}
