use std::net::SocketAddr;

use super::hash::TextHash;
use super::maglev::Maglev;
use super::ring_hash::Ring;
use crate::policy::BalancePolicy;
use crate::policy::model::Algorithm;

/// Who takes a request of a hash, and who if that one cannot.
#[derive(Debug)]
pub(super) struct Consistent {
    table: Table,
    /// Of what it was built from.
    fingerprint: u64,
}

#[derive(Debug)]
enum Table {
    Ring(Ring),
    Maglev(Maglev),
}

// === impl Consistent ===

impl Consistent {
    /// The table that `policy` asks for; `previous` if it would be the same.
    pub(super) fn new(
        policy: &BalancePolicy,
        endpoints: &[(SocketAddr, u32)],
        previous: impl Iterator<Item = std::sync::Arc<Self>>,
    ) -> Option<std::sync::Arc<Self>> {
        let (min, max) = (policy.min_ring_size(), policy.max_ring_size());
        let size = policy.maglev_table_size();
        let parameters = match policy.algorithm() {
            Algorithm::RingHash => format!("ring {min} {max}"),
            Algorithm::Maglev => format!("maglev {size}"),
            _ => return None,
        };
        let fingerprint = TextHash::of(0, format_args!("{parameters} {endpoints:?}"));
        if let Some(same) = { previous }.find(|one| one.fingerprint == fingerprint) {
            return Some(same);
        }
        let table = match policy.algorithm() {
            Algorithm::Maglev => Table::Maglev(Maglev::new(endpoints, size)),
            _ => Table::Ring(Ring::new(endpoints, min, max)),
        };
        Some(std::sync::Arc::new(Self { table, fingerprint }))
    }

    /// Calls `visit` with members of the group in the order in which a request of `hash` should try
    /// them, at most `most` steps, until it answers.
    pub(super) fn find<T>(
        &self,
        hash: u64,
        most: usize,
        visit: impl FnMut(usize) -> Option<T>,
    ) -> Option<T> {
        match &self.table {
            Table::Ring(ring) => ring.from(hash).take(most).find_map(visit),
            Table::Maglev(maglev) => maglev.from(hash).take(most).find_map(visit),
        }
    }
}
