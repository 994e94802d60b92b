use mesh_core::error::ErrorKind;

use super::target::{MeshSource, Target, service_of};
use crate::Mesh;

/// Which hosts mean a service, for a proxy that has other ways than the mesh. Made by [`Mesh::hosts`]; clones
/// are cheap.
#[derive(Clone)]
pub struct Hosts {
    source: MeshSource,
}

impl Mesh {
    /// The hosts that [`Mesh::proxy_client`] finds a service for.
    pub fn hosts(&self) -> Hosts {
        Hosts {
            source: MeshSource::new(self.inner(), Target::Authority),
        }
    }
}

// === impl Hosts ===

impl Hosts {
    /// Whether a host means a service, by what is known here.
    pub fn has(&mut self, host: &str, port: Option<u16>) -> bool {
        let view = self.source.live.get();
        view.snapshot()
            .outbound()
            .resolve_host(host, port)
            .is_some()
    }

    /// Whether a host means a service. One that only the control server may know is asked for, and as long
    /// as that has not said no, it may be one.
    pub async fn knows(&mut self, host: &str, port: Option<u16>) -> bool {
        if self.has(host, port) {
            return true;
        }
        let is_fed = self.source.live.get().is_fed();
        let Some(name) = service_of(host).filter(|_| is_fed) else {
            return false;
        };
        match self.source.service_named(&name).await {
            Ok(_) => true,
            Err(error) => error.kind() != ErrorKind::NoRoute,
        }
    }
}

impl std::fmt::Debug for Hosts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hosts").finish_non_exhaustive()
    }
}
