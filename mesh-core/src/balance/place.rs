use std::collections::BTreeMap;
use std::sync::Arc;

use crate::policy::model::{BalancePolicy, LocalityPolicy};

/// Where this process stands among those that call a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Our own zone: `zone`, `region/zone` or `region/zone/subzone`.
    pub zone: Option<Arc<str>>,
    /// Our number among the callers, from 0, and how many there are; `None` while nobody has said.
    pub peer: Option<(u32, u32)>,
    /// How many callers there are in each zone; empty while nobody has said.
    pub callers: Arc<BTreeMap<Arc<str>, u32>>,
    /// What this process chooses by where clients should choose differently (random subsets, an
    /// aperture before `peer` is known): any number that it keeps.
    pub seed: u64,
}

/// What a [`Balancer`](super::Balancer) is built by.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// How an endpoint is chosen.
    pub balance: &'a BalancePolicy,
    /// How calls are divided between zones and priorities.
    pub locality: &'a LocalityPolicy,
    /// Where the caller is.
    pub place: &'a Place,
}
