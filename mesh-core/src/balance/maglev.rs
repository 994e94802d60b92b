//! Maglev (Eisenbud et al. 2016, Envoy): a table of a prime number of slots that the endpoints fill
//! in turns, each by a permutation of its own. One look finds the endpoint, shares are even to one
//! slot, and an endpoint that comes or goes moves few keys of the others.

use std::net::SocketAddr;

use super::hash::TextHash;

/// Nobody has the slot.
const FREE: u32 = u32::MAX;

/// The table: who is in each slot.
#[derive(Debug)]
pub(super) struct Maglev {
    slots: Box<[u32]>,
}

struct Filling {
    member: u32,
    offset: u64,
    skip: u64,
    share: f64,
    /// Takes a slot when its share, times the turns so far, has come up to this.
    target: f64,
    next: u64,
}

// === impl Maglev ===

impl Maglev {
    /// A table of `size` slots, a prime, for endpoints with weights (0 has no slot, unless all are
    /// 0).
    pub(super) fn new(endpoints: &[(SocketAddr, u32)], size: u32) -> Self {
        let size = u64::from(size.max(2));
        let all_zero = endpoints.iter().all(|(_, weight)| *weight == 0);
        let mut filling: Vec<Filling> = endpoints
            .iter()
            .zip(0_u32..)
            .filter(|((_, weight), _)| all_zero || *weight > 0)
            .map(|((addr, weight), member)| Filling {
                member,
                offset: TextHash::of(0, format_args!("{addr}")) % size,
                skip: TextHash::of(1, format_args!("{addr}")) % (size - 1) + 1,
                share: f64::from((*weight).max(1)),
                target: 0.0,
                next: 0,
            })
            .collect();
        let most = filling.iter().map(|one| one.share).fold(0.0, f64::max);
        let mut slots = vec![FREE; if filling.is_empty() { 0 } else { size as usize }];
        let (mut filled, mut turns) = (0, 0.0);
        'fill: while filled < slots.len() {
            turns += 1.0;
            for one in &mut filling {
                // The heaviest takes a slot in every turn, one of a third of its weight in every
                // third.
                if turns * one.share < one.target {
                    continue;
                }
                one.target += most;
                while let Some(slot) = slots.get_mut(one.step(size)) {
                    if *slot == FREE {
                        *slot = one.member;
                        break;
                    }
                }
                filled += 1;
                if filled == slots.len() {
                    break 'fill;
                }
            }
        }
        Self {
            slots: slots.into(),
        }
    }

    /// Members in the order of the table from the slot of `hash` on, once around.
    pub(super) fn from(&self, hash: u64) -> impl Iterator<Item = usize> + '_ {
        let first = hash.checked_rem(self.slots.len() as u64).unwrap_or(0) as usize;
        let (before, after) = self.slots.split_at(first);
        after.iter().chain(before).map(|member| *member as usize)
    }
}

impl Filling {
    /// The next slot of the permutation.
    fn step(&mut self, size: u64) -> usize {
        let slot = (self.offset + self.skip * self.next) % size;
        self.next += 1;
        slot as usize
    }
}

#[cfg(test)]
#[allow(clippy::print_stderr, reason = "the figures of the run")]
mod tests {
    use super::*;

    const SIZE: u32 = 65_537;

    fn endpoints(weights: &[u32]) -> Vec<(SocketAddr, u32)> {
        let addr = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        weights
            .iter()
            .zip(90..)
            .map(|(w, port)| (addr(port), *w))
            .collect()
    }

    fn slots(table: &Maglev) -> Vec<usize> {
        table.from(0).collect()
    }

    fn shares(table: &Maglev, members: usize) -> Vec<usize> {
        let mut counts = vec![0; members];
        slots(table)
            .into_iter()
            .for_each(|member| counts[member] += 1);
        counts
    }

    #[test]
    fn envoy_maglev_basic_assignment() {
        let table = Maglev::new(&endpoints(&[1; 6]), 7);
        assert_eq!(slots(&table), [2, 4, 0, 1, 5, 0, 3]);
        assert_eq!(table.from(10).next(), Some(1));
    }

    #[test]
    fn envoy_maglev_weighted_assignment() {
        let table = Maglev::new(&endpoints(&[1, 2]), 17);
        let published = [1, 0, 0, 1, 0, 1, 1, 0, 1, 1, 1, 1, 1, 0, 1, 0, 1];
        assert_eq!(slots(&table), published);
    }

    #[test]
    fn shares_are_even_to_the_slot_and_by_weight() {
        let counts = shares(&Maglev::new(&endpoints(&[1; 100]), SIZE), 100);
        assert!(counts.iter().all(|n| (655..=656).contains(n)), "{counts:?}");
        let counts = shares(&Maglev::new(&endpoints(&[1, 3, 0]), SIZE), 3);
        assert!(
            counts[0].abs_diff(16_384) <= 1 && counts[2] == 0,
            "{counts:?}"
        );
        assert_eq!(Maglev::new(&[], SIZE).from(7).next(), None);
    }

    #[test]
    fn maglev_paper_disruption_when_one_of_a_hundred_leaves() {
        let all = endpoints(&[1; 100]);
        let mut fewer = all.clone();
        fewer.remove(37);
        let renumber = |member: usize| if member > 36 { member + 1 } else { member };
        let before = slots(&Maglev::new(&all, SIZE));
        let after = slots(&Maglev::new(&fewer, SIZE));
        let moved = before
            .iter()
            .zip(&after)
            .filter(|(was, is)| **was != 37 && **was != renumber(**is))
            .count();
        eprintln!(
            "{:.2} % of the keys of others moved",
            moved as f64 * 100.0 / f64::from(SIZE)
        );
        assert!(moved * 100 < SIZE as usize * 3, "{moved} of {SIZE}");
    }
}
