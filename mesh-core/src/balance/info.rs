use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::identity::SpiffeId;

/// What discovery knows about an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointInfo {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Where it listens in the other address family, if it is known to be in both: whichever
    /// connects first is used (RFC 8305).
    pub alternate: Option<SocketAddr>,
    /// Who must answer there; `None` when it has no identity.
    pub identity: Option<SpiffeId>,
    /// Labels, for subsets.
    pub labels: Arc<BTreeMap<String, String>>,
    /// Where it runs: a zone, or `region/zone`, or `region/zone/subzone`.
    pub zone: Option<Arc<str>>,
    /// Endpoints of a higher number take calls only as far as those of lower numbers fail; 0 is
    /// first.
    pub priority: u32,
    /// Its share against the others; 0 takes no calls while another has more.
    pub weight: u32,
}

impl EndpointInfo {
    /// An endpoint of weight 1 about which nothing more is known.
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            alternate: None,
            identity: None,
            labels: Arc::default(),
            zone: None,
            priority: 0,
            weight: 1,
        }
    }
}
