//! The registry of live instances: leases, as arithmetic over a `now` that is passed in.
//!
//! ```text
//!   register ──> held by a stream ──(stream ends)──> orphan ──(lease ends)──> lost
//!                  │  ^ heartbeat renews                │  ^
//!                  │  └───── register again, any stream ┘  └── restored after a restart
//!                  └──(deregister)──> gone at once
//! ```
//!
//! A lease is 15 s and a heartbeat 5 s, so two lost heartbeats do no harm and a crashed instance is
//! gone within 20 s. A stream that ends says nothing about the instance: the network or this server
//! may be at fault, so the entry stays until its lease ends. For the same reason a restarted server
//! gives each entry that it finds on disk one fresh lease before it takes it for dead.

mod lease;
mod limits;
mod persist;
mod place;

#[cfg(test)]
mod tests;

pub(crate) use lease::{Instance, Lost};
pub(crate) use limits::RegistryError;
pub(crate) use persist::LeaseFile;
pub(crate) use place::Place;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lease::Lease;
use mesh_core::name::ServiceName;

/// Life of a lease after its last renewal.
pub(crate) const LEASE: Duration = Duration::from_secs(15);
/// How long a lost instance is told about, unless one takes its place.
const REMEMBER_LOST: Duration = Duration::from_secs(600);
const MAX_LOST: usize = 256;

/// One registration stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Holder(pub(crate) u64);

type Key = (ServiceName, SocketAddr);

/// The live instances of every service.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    services: BTreeMap<ServiceName, BTreeMap<SocketAddr, Lease>>,
    /// What each stream holds, so that a heartbeat costs its own entries and not everybody's.
    holders: HashMap<Holder, BTreeSet<Key>>,
    total: usize,
    lost: VecDeque<Lost>,
}

/// One row of [`Registry::instances`].
#[derive(Debug)]
pub(crate) struct Row<'a> {
    pub(crate) instance: &'a Instance,
    pub(crate) left: Duration,
    /// Its stream ended without a word, and it is not one restored after a restart.
    pub(crate) orphan: bool,
}

impl Registry {
    /// Takes an instance in, or renews it. True when what others see of it changed.
    pub(crate) fn register(
        &mut self,
        holder: Holder,
        instance: Instance,
        now: Instant,
    ) -> Result<bool, RegistryError> {
        instance.check()?;
        let held = self.held_by(holder);
        let of_service = self.services.get(&instance.service);
        let known = of_service.is_some_and(|leases| leases.contains_key(&instance.addr));
        if !known {
            limits::room(held, of_service.map_or(0, BTreeMap::len), self.total)?;
        }
        self.forget_lost(&instance);
        let key = (instance.service.clone(), instance.addr);
        let lease = Lease::held(instance, holder, now);
        let old = self.insert(lease.clone());
        if let Some(before) = old.as_ref().and_then(|old| old.holder) {
            self.release(before, &key);
        }
        self.holders.entry(holder).or_default().insert(key);
        Ok(old.is_none_or(|old| old.instance != lease.instance))
    }

    /// Renews every lease of the stream.
    pub(crate) fn heartbeat(&mut self, holder: Holder, now: Instant) {
        for (service, addr) in self.holders.get(&holder).into_iter().flatten() {
            let lease = self
                .services
                .get_mut(service)
                .and_then(|leases| leases.get_mut(addr));
            if let Some(lease) = lease {
                lease.expires = now + LEASE;
            }
        }
    }

    /// Takes entries of the stream out, at once; `None` means all services, or all addresses.
    /// Returns what was taken out.
    pub(crate) fn deregister(
        &mut self,
        holder: Holder,
        service: Option<&ServiceName>,
        addr: Option<SocketAddr>,
    ) -> Vec<Instance> {
        let wanted = |key: &&Key| {
            service.is_none_or(|service| *service == key.0) && addr.is_none_or(|addr| addr == key.1)
        };
        let keys: Vec<Key> = self
            .holders
            .get(&holder)
            .into_iter()
            .flatten()
            .filter(wanted)
            .cloned()
            .collect();
        keys.iter().filter_map(|key| self.remove(key)).collect()
    }

    /// The stream ended: its entries stay until their leases end.
    pub(crate) fn stream_ended(&mut self, holder: Holder) {
        for (service, addr) in self.holders.remove(&holder).into_iter().flatten() {
            let lease = self
                .services
                .get_mut(&service)
                .and_then(|leases| leases.get_mut(&addr));
            if let Some(lease) = lease {
                lease.holder = None;
                lease.orphan = true;
            }
        }
    }

    /// Takes entries out whose lease has ended. Returns them.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Instance> {
        let ended = self.leases().filter(|lease| lease.expires <= now);
        let keys: Vec<Key> = ended
            .map(|lease| (lease.instance.service.clone(), lease.instance.addr))
            .collect();
        let gone: Vec<_> = keys.iter().filter_map(|key| self.remove(key)).collect();
        for instance in &gone {
            if self.lost.len() == MAX_LOST {
                self.lost.pop_front();
            }
            self.lost.push_back(Lost {
                instance: instance.clone(),
                at: now,
            });
        }
        self.lost
            .retain(|lost| now.saturating_duration_since(lost.at) < REMEMBER_LOST);
        gone
    }

    /// Takes in what a former life of this server knew: each entry gets one fresh lease.
    pub(crate) fn restore(&mut self, instances: Vec<Instance>, now: Instant) {
        for instance in instances {
            if instance.check().is_ok() && self.total < limits::MAX_TOTAL {
                self.insert(Lease::restored(instance, now));
            }
        }
    }

    /// Live instances of one service, by address.
    pub(crate) fn instances(
        &self,
        service: &ServiceName,
        now: Instant,
    ) -> impl Iterator<Item = Row<'_>> {
        self.services
            .get(service)
            .into_iter()
            .flat_map(BTreeMap::values)
            .map(move |lease| Row {
                instance: &lease.instance,
                left: lease.expires.saturating_duration_since(now),
                orphan: lease.orphan,
            })
    }

    /// All services with at least one live instance.
    pub(crate) fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.services.keys()
    }

    /// Every live instance.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Instance> {
        self.leases().map(|lease| &lease.instance)
    }

    /// Instances that vanished lately and that no other has replaced.
    pub(crate) fn lost(&self) -> impl Iterator<Item = &Lost> {
        self.lost.iter()
    }

    /// Entries that the stream holds.
    pub(crate) fn held_by(&self, holder: Holder) -> usize {
        self.holders.get(&holder).map_or(0, BTreeSet::len)
    }

    pub(crate) fn len(&self) -> usize {
        self.total
    }

    /// A newcomer takes the place of one that was lost: of the same name, at the same address, or
    /// of the same service and labels (a replacement has a new name and port).
    fn forget_lost(&mut self, newcomer: &Instance) {
        let same_kind = |lost: &Lost| {
            lost.instance.service == newcomer.service
                && (lost.instance.addr == newcomer.addr
                    || lost.instance.instance == newcomer.instance
                    || lost.instance.labels == newcomer.labels)
        };
        let known = self
            .services
            .get(&newcomer.service)
            .is_some_and(|leases| leases.contains_key(&newcomer.addr));
        if known {
            return;
        }
        if let Some(ix) = self.lost.iter().position(same_kind) {
            self.lost.remove(ix);
        }
    }

    fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.services.values().flat_map(BTreeMap::values)
    }

    fn insert(&mut self, lease: Lease) -> Option<Lease> {
        let leases = self
            .services
            .entry(lease.instance.service.clone())
            .or_default();
        let old = leases.insert(lease.instance.addr, lease);
        self.total += usize::from(old.is_none());
        old
    }

    fn remove(&mut self, key: &Key) -> Option<Instance> {
        let leases = self.services.get_mut(&key.0)?;
        let lease = leases.remove(&key.1)?;
        if leases.is_empty() {
            self.services.remove(&key.0);
        }
        self.total -= 1;
        if let Some(holder) = lease.holder {
            self.release(holder, key);
        }
        Some(lease.instance)
    }

    fn release(&mut self, holder: Holder, key: &Key) {
        if let Some(keys) = self.holders.get_mut(&holder) {
            keys.remove(key);
            if keys.is_empty() {
                self.holders.remove(&holder);
            }
        }
    }
}

/// The services of some instances, each once.
pub(crate) fn services_of(instances: &[Instance]) -> Vec<ServiceName> {
    let names: BTreeSet<_> = instances.iter().map(|instance| &instance.service).collect();
    names.into_iter().cloned().collect()
}
