//! The proxies without any policy, in a process of this program.

use super::{Missing, Places, Running, backend};
use crate::peers::bare::Kind;
use crate::peers::scenario::Scenario;
use crate::peers::{cores, process};
use mesh_tower::testkit::free_port;

/// The proxy on hyper.
pub(super) fn proxy(scenario: Scenario, places: &Places<'_>) -> Result<Running, Missing> {
    match scenario {
        Scenario::Hop => start(Kind::Http1, scenario, places),
        Scenario::GrpcHop => start(Kind::Http2, scenario, places),
        _ => Err(Missing::CannotDo("plaintext HTTP only")),
    }
}

/// The relay of bytes.
pub(super) fn relay(scenario: Scenario, places: &Places<'_>) -> Result<Running, Missing> {
    if scenario.is_pair() {
        return Err(Missing::CannotDo("plaintext only"));
    }
    start(Kind::Bytes, scenario, places)
}

fn start(kind: Kind, scenario: Scenario, places: &Places<'_>) -> Result<Running, Missing> {
    let addr = free_port()?;
    let to = backend(scenario, places)[0];
    let args = ["bare", kind.word(), &addr.to_string(), &to.to_string()];
    let log = places.files.path("bare.log");
    let mut one = process::start(cores::SUBJECT, &places.own, args, &log)?;
    one.wait_for(addr)?;
    Ok(Running {
        addr,
        processes: vec![one],
    })
}
