//! Which of the processes of its service a process is: what deterministic apertures and shares of
//! zones are computed from.

use std::collections::{BTreeMap, BTreeSet};

use super::{Holder, Registry};

/// One process among those of its service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// From 0, in the order of the processes' names.
    pub(crate) index: u32,
    pub(crate) count: u32,
    /// How many are in each zone.
    pub(crate) zones: BTreeMap<String, u32>,
}

impl Registry {
    /// The place of the process behind a stream; `None` when it holds nothing. A process counts once,
    /// however many addresses it serves at.
    pub(crate) fn place(&self, holder: Holder) -> Option<Place> {
        let (service, addr) = self.holders.get(&holder)?.first()?;
        let leases = self.services.get(service)?;
        let own = &leases.get(addr)?.instance.instance;
        let mut names = BTreeSet::new();
        let mut place = Place::default();
        for instance in leases.values().map(|lease| &lease.instance) {
            if !names.insert(&instance.instance) {
                continue;
            }
            place.count += 1;
            place.index += u32::from(instance.instance < *own);
            if !instance.zone.is_empty() {
                *place.zones.entry(instance.zone.clone()).or_default() += 1;
            }
        }
        Some(place)
    }
}
