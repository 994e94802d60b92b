//! The bare hyper proxy, in a process of this program.

use super::{CORE, Missing, Places, Running, backend};
use crate::peers::process;
use crate::peers::scenario::Scenario;
use mesh_tower::testkit::free_port;

pub(super) fn start(scenario: Scenario, places: &Places<'_>) -> Result<Running, Missing> {
    let kind = match scenario {
        Scenario::Hop => "http1",
        Scenario::GrpcHop => "http2",
        _ => return Err(Missing::CannotDo("plaintext HTTP only")),
    };
    let addr = free_port()?;
    let to = backend(scenario, places)[0];
    let args = ["bare", kind, &addr.to_string(), &to.to_string()];
    let log = places.files.path("bare.log");
    let mut one = process::start(CORE, &places.own, args, &log)?;
    one.wait_for(addr)?;
    Ok(Running {
        addr,
        processes: vec![one],
    })
}
