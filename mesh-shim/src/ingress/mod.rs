//! Listeners for clients outside the mesh. What they let in is decided by the policy, in
//! `mesh_tower::server::Ingress`; here are the flags, the listeners and the certificates' place.

mod config;

use std::fmt::Write as _;
use std::time::SystemTime;

use mesh_core::error::{ErrorKind, MeshError};
use mesh_tower::Mesh;
use mesh_tower::server::{Ingress, ServerHandle};
use mesh_tower::tls::Certificates;
use mesh_tower::transport::TcpAccept;

pub(crate) use self::config::HttpsRedirect;
pub use self::config::{IngressConfig, IngressListen, Passthrough};

use crate::error::ShimError;

/// Certificates of which the expiry is told one by one; those that expire first.
const TOLD: usize = 200;

/// What all workers serve.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    config: IngressConfig,
    certificates: Option<Certificates>,
}

// === impl Setup ===

impl Setup {
    /// Reads the certificates.
    pub(crate) fn new(config: &IngressConfig) -> Result<Self, ShimError> {
        let open = |directory| {
            Certificates::open(directory).map_err(|error| {
                ShimError::new(
                    error.code().to_string(),
                    format!("--certificates {}", text_of(&error)),
                    "put NAME.crt and NAME.key there, as PEM; the other pairs are not touched",
                )
            })
        };
        let certificates = config.certificates.as_ref().map(open).transpose()?;
        Ok(Self {
            config: config.clone(),
            certificates,
        })
    }

    /// Takes changed certificates over while the mesh runs.
    pub(crate) fn follow(&self, mesh: &Mesh) {
        if let Some(certificates) = &self.certificates {
            mesh.spawn(certificates.follow());
        }
    }

    /// Serves one listener on this worker. It ends with the mesh's drain.
    pub(crate) fn serve(
        &self,
        mesh: &Mesh,
        listen: IngressListen,
        listener: std::net::TcpListener,
    ) -> Result<ServerHandle, MeshError> {
        let listener = TcpAccept::from_std(listener).map_err(|error| {
            MeshError::new(ErrorKind::Internal, format!("ingress listener: {error}"))
        })?;
        let ingress = match (listen.tls, self.config.https_redirect) {
            (false, None) => Ingress::plaintext(),
            (false, Some(port)) => Ingress::to_https(port),
            (true, _) => {
                let mut ingress = Ingress::tls(self.certificates.clone());
                for Passthrough { host, service } in &self.config.passthrough {
                    ingress = ingress.pass_through(host, service)?;
                }
                ingress
            }
        };
        mesh.server().accept(listener).ingress(ingress)
    }

    /// The listeners, as they were asked for.
    pub(crate) fn listens(&self) -> &[IngressListen] {
        &self.config.listen
    }

    /// As Prometheus text, to follow the mesh's own metrics.
    pub(crate) fn metrics(&self) -> String {
        let Some(certificates) = &self.certificates else {
            return String::new();
        };
        let mut states = certificates.states();
        let broken = states.iter().filter(|one| one.fault.is_some()).count();
        states.sort_by_key(|one| (one.not_after.is_none(), one.not_after));
        let mut text = format!(
            "# HELP mesh_shim_ingress_certificates_broken Pairs of --certificates whose files cannot be used now.\n\
             # TYPE mesh_shim_ingress_certificates_broken gauge\n\
             mesh_shim_ingress_certificates_broken {broken}\n\
             # HELP mesh_shim_ingress_certificate_expiry_seconds When a certificate in use expires, in seconds since 1970; the {TOLD} that expire first.\n\
             # TYPE mesh_shim_ingress_certificate_expiry_seconds gauge\n"
        );
        for state in states.iter().take(TOLD) {
            let at = state.not_after;
            let Some(at) = at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok()) else {
                continue;
            };
            let name = state.name.replace(['\\', '"', '\n'], "_");
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "mesh_shim_ingress_certificate_expiry_seconds{{certificate=\"{name}\"}} {}",
                at.as_secs()
            );
        }
        text
    }
}

/// The message without the code, which the shim's own errors add.
fn text_of(error: &MeshError) -> String {
    let text = error.to_string();
    let code = format!(" [{}]", error.code());
    text.strip_suffix(&code).unwrap_or(&text).to_owned()
}
