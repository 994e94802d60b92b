//! One entry of the registry.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use mesh_core::name::ServiceName;
use serde::{Deserialize, Serialize};

use super::{Holder, LEASE};

/// What an instance says about itself; also the form on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Instance {
    pub(crate) service: ServiceName,
    pub(crate) addr: SocketAddr,
    /// Name of the process.
    pub(crate) instance: String,
    /// SPIFFE id that it proved when it registered.
    pub(crate) identity: String,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) zone: String,
    /// Relative weight, at least 1.
    #[serde(default)]
    pub(crate) weight: u32,
    /// Those of a higher number take calls when those before them fail.
    #[serde(default)]
    pub(crate) priority: u32,
}

/// An instance whose lease ended.
#[derive(Clone, Debug)]
pub(crate) struct Lost {
    pub(crate) instance: Instance,
    pub(crate) at: Instant,
}

#[derive(Clone, Debug)]
pub(super) struct Lease {
    pub(super) instance: Instance,
    pub(super) holder: Option<Holder>,
    pub(super) orphan: bool,
    pub(super) expires: Instant,
}

impl Lease {
    pub(super) fn held(instance: Instance, holder: Holder, now: Instant) -> Self {
        Self {
            instance,
            holder: Some(holder),
            orphan: false,
            expires: now + LEASE,
        }
    }

    pub(super) fn restored(instance: Instance, now: Instant) -> Self {
        Self {
            instance,
            holder: None,
            orphan: false,
            expires: now + LEASE,
        }
    }
}
