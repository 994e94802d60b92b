//! Where a control server is, and one connection to it.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use mesh_core::{
    error::{Code, ErrorKind, MeshError},
    identity::SpiffeId,
};
use mesh_tower::{
    tls::{Alpn, ClientTls, Credentials, Expect},
    transport::{BoxIo, Connect},
};
use tokio_util::task::AbortOnDropHandle;

/// The path of the control server's SPIFFE id. Other members of the mesh hold certificates of the same authority, so
/// the authority alone proves nothing.
const CONTROL_PATH: &str = "/ns/mesh/sa/control";

/// For each address, TCP alone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A silent control server is found out within 15 s: streams to it are idle for long.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Address of a control server, `https://host:7443`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlAddr {
    host: String,
    port: u16,
}

impl FromStr for ControlAddr {
    type Err = MeshError;

    fn from_str(text: &str) -> Result<Self, MeshError> {
        let bad = || {
            MeshError::new(
                ErrorKind::Policy,
                format!("`{text}` is not a control server's address"),
            )
            .with_code(code(1003))
            .with_note("next", "write it like https://control.example:7443")
        };
        let rest = text.strip_prefix("https://").ok_or_else(bad)?;
        let authority: http::uri::Authority =
            rest.trim_end_matches('/').parse().map_err(|_| bad())?;
        let bad_port = authority.port_u16().is_none() && authority.as_str() != authority.host();
        if authority.as_str().contains('@') || authority.host().is_empty() || bad_port {
            return Err(bad());
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        Ok(Self {
            host,
            port: authority.port_u16().unwrap_or(7443),
        })
    }
}

impl fmt::Display for ControlAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "https://[{}]:{}", self.host, self.port);
        }
        write!(f, "https://{}:{}", self.host, self.port)
    }
}

/// How a channel reaches its server.
#[derive(Clone)]
pub(super) enum Target {
    Tls {
        addr: ControlAddr,
        tls: ClientTls,
        /// Whose trust domain the server must be of; `None` while joining.
        credentials: Option<Credentials>,
        connector: Arc<dyn Connect>,
    },
    Unix(PathBuf),
}

/// One live connection. Its driver ends with it.
pub(super) struct Connection {
    pub(super) send: SendRequest<tonic::body::Body>,
    _driver: AbortOnDropHandle<()>,
}

impl Target {
    pub(super) fn scheme(&self) -> &'static str {
        match self {
            Self::Tls { .. } => "https",
            Self::Unix(_) => "http",
        }
    }

    pub(super) async fn connect(&self) -> Result<Connection, MeshError> {
        let io = match self {
            Self::Tls {
                addr,
                tls,
                credentials,
                connector,
            } => {
                let (tcp, remote) = tcp(addr, &**connector).await?;
                let connected = tls
                    .connect(tcp, remote.ip(), &Expect::Any, Alpn::Http2)
                    .await?;
                check_peer(connected.peer.as_ref(), credentials.as_ref())?;
                connected.io
            }
            Self::Unix(path) => {
                let stream = tokio::net::UnixStream::connect(path)
                    .await
                    .map_err(|error| unreachable(&path.display(), &error))?;
                Box::new(stream)
            }
        };
        handshake(io)
            .await
            .map_err(|error| unreachable(self, &error))
    }
}

async fn tcp(
    addr: &ControlAddr,
    connector: &dyn Connect,
) -> Result<(BoxIo, SocketAddr), MeshError> {
    let found = tokio::net::lookup_host((addr.host.as_str(), addr.port));
    let addresses: Vec<SocketAddr> = found
        .await
        .map_err(|error| unreachable(addr, &error))?
        .collect();
    let mut last = unreachable(addr, &"its name has no address");
    for remote in addresses {
        match tokio::time::timeout(CONNECT_TIMEOUT, connector.connect(remote)).await {
            Ok(Ok(io)) => return Ok((io, remote)),
            Ok(Err(error)) => last = unreachable(addr, &error),
            Err(_) => last = unreachable(addr, &format_args!("no answer in {CONNECT_TIMEOUT:?}")),
        }
    }
    Err(last)
}

/// The peer must be the control server, and of our own trust domain once we have one.
fn check_peer(peer: Option<&SpiffeId>, credentials: Option<&Credentials>) -> Result<(), MeshError> {
    let own = credentials.and_then(Credentials::identity);
    let own = own
        .as_ref()
        .map(|identity| identity.spiffe_id().trust_domain());
    match peer {
        Some(id) if id.path() == CONTROL_PATH && own.is_none_or(|own| own == id.trust_domain()) => {
            Ok(())
        }
        Some(id) => Err(MeshError::new(
            ErrorKind::Identity,
            format!("the peer is {id}, not this mesh's control server"),
        )),
        None => Err(MeshError::new(
            ErrorKind::Identity,
            "the peer did not prove that it is the control server",
        )),
    }
}

async fn handshake(io: BoxIo) -> Result<Connection, hyper::Error> {
    let (send, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .handshake(TokioIo::new(io))
        .await?;
    let driver = tokio::spawn(async move {
        // How it ended shows at its streams.
        let _ = connection.await;
    });
    Ok(Connection {
        send,
        _driver: AbortOnDropHandle::new(driver),
    })
}

/// A code by its number; the registry of mesh-core has all that are used here, which a test checks.
pub(crate) fn code(number: u16) -> Code {
    Code::new(number).unwrap_or(Code::INTERNAL)
}

fn unreachable(target: &dyn fmt::Display, why: &dyn fmt::Display) -> MeshError {
    MeshError::new(
        ErrorKind::Connect,
        format!("control server {target} cannot be reached: {why}"),
    )
    .with_code(code(1002))
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls { addr, .. } => fmt::Display::fmt(addr, f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_https_with_a_default_port() {
        for (text, shown) in [
            ("https://control:7443", "https://control:7443"),
            ("https://control", "https://control:7443"),
            ("https://[::1]:1", "https://[::1]:1"),
            ("https://127.0.0.1:9/", "https://127.0.0.1:9"),
        ] {
            assert_eq!(text.parse::<ControlAddr>().expect(text).to_string(), shown);
        }
        for text in [
            "control:7443",
            "http://control",
            "unix:/x",
            "https://",
            "https://a:b",
            "https://u@h",
        ] {
            let error = text.parse::<ControlAddr>().expect_err(text);
            assert_eq!(error.code().to_string(), "M1003", "{text}");
        }
    }

    #[test]
    fn only_the_control_server_of_the_own_trust_domain_is_believed() {
        let control = SpiffeId::parse("spiffe://mesh.local/ns/mesh/sa/control").unwrap();
        let workload = SpiffeId::parse("spiffe://mesh.local/ns/shop/sa/web").unwrap();
        assert!(check_peer(Some(&control), None).is_ok());
        assert!(check_peer(Some(&workload), None).is_err());
        assert!(check_peer(None, None).is_err());
    }

    #[test]
    fn codes_used_here_exist() {
        for number in [1001, 1002, 1003, 4004, 4005, 4006, 5002, 5003] {
            assert_eq!(code(number).number(), number);
        }
    }
}
