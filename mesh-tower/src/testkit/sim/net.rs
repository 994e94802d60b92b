use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mesh_core::identity::SpiffeId;

use super::host::Host;
use crate::transport::{BoxIo, ConnInfo, Connect};

/// All hosts by address.
#[derive(Default)]
pub(super) struct Net {
    pub(super) hosts: HashMap<SocketAddr, Arc<Host>>,
}

/// The network as one process sees it. Hosts know who calls, as after mutual TLS.
pub(super) struct Uplink {
    pub(super) net: Arc<Net>,
    pub(super) identity: Option<SpiffeId>,
    pub(super) zone: Option<String>,
}

impl Connect for Uplink {
    fn connect(
        &self,
        addr: SocketAddr,
    ) -> futures_core::future::BoxFuture<'static, io::Result<BoxIo>> {
        let made = match self.net.hosts.get(&addr) {
            Some(host) => {
                let from = ConnInfo {
                    peer: self.identity.clone(),
                    tls: self.identity.is_some(),
                    ..ConnInfo::default()
                };
                host.accept(from, self.zone.as_deref())
            }
            None => Err(io::ErrorKind::ConnectionRefused.into()),
        };
        Box::pin(std::future::ready(made))
    }
}
