//! Who is asking, as far as the connection proves it.

use std::net::SocketAddr;

use mesh_core::name::ServiceName;
use tonic::{Extensions, Status};

/// The peer of a connection; travels in a request's extensions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    /// SPIFFE id that the handshake proved.
    pub(crate) identity: Option<String>,
    /// The service of that id.
    pub(crate) service: Option<ServiceName>,
    pub(crate) addr: Option<SocketAddr>,
}

/// A peer that proved who it is.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) identity: String,
    pub(crate) service: ServiceName,
    pub(crate) addr: Option<SocketAddr>,
}

impl Caller {
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// The peer as a member of the mesh; everything but joining needs that.
    pub(crate) fn member(self) -> Result<Member, Status> {
        match (self.identity, self.service) {
            (Some(identity), Some(service)) => Ok(Member {
                identity,
                service,
                addr: self.addr,
            }),
            (Some(identity), None) => Err(Status::permission_denied(format!(
                "{identity} is not the id of a service (/ns/X/sa/Y) [M4003]"
            ))),
            _ => Err(Status::unauthenticated(
                "needs a client certificate of this mesh: join first [M4003]",
            )),
        }
    }
}

impl Member {
    /// A member speaks only for its own service.
    pub(crate) fn only(&self, service: &str) -> Result<(), Status> {
        if service
            .parse::<ServiceName>()
            .is_ok_and(|service| service == self.service)
        {
            return Ok(());
        }
        Err(Status::permission_denied(format!(
            "{} speaks for {}, not for {service:?} [M4003]",
            self.identity, self.service
        )))
    }
}
