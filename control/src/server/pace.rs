//! How often identities are asked for: a token bucket for each peer address, and one for all.
//!
//! Anybody who reaches the port can ask, and a signature costs more than its request. Who joins and
//! who renews have buckets of their own, so that strangers cannot keep members from renewing, which
//! they start with 30 % of a certificate's life left.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Peers that are told apart; a few hundred kilobytes. Beyond that the bucket for all counts alone.
const PEERS: usize = 4096;
/// A machine that starts 100 processes at once, then 20 a second.
const OF_PEER: Rate = Rate::new(20, 100);
/// A cluster that starts 1,000 processes at once, then 200 a second: some milliseconds of signing.
const OF_ALL: Rate = Rate::new(200, 1000);

/// So many a second, after so many at once.
#[derive(Clone, Copy, Debug)]
struct Rate {
    /// Time in which one token comes back.
    each: Duration,
    /// Time in which an empty bucket fills.
    whole: Duration,
}

/// A bucket, by the moment at which it is full again.
#[derive(Clone, Copy, Debug)]
struct Bucket(Instant);

/// The buckets.
#[derive(Debug)]
pub(super) struct Pace {
    joiners: Mutex<Group>,
    members: Mutex<Group>,
}

#[derive(Debug)]
struct Group {
    all: Bucket,
    peers: HashMap<IpAddr, Bucket>,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// By join token.
    Joiner,
    /// By the identity that is renewed.
    Member,
}

/// Come back after this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooOften {
    pub(super) wait: Duration,
    /// Whether all peers together ask too often, not this one.
    pub(super) all: bool,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        let group = || {
            Mutex::new(Group {
                all: Bucket(now),
                peers: HashMap::new(),
            })
        };
        Self {
            joiners: group(),
            members: group(),
        }
    }

    /// Takes a token of the peer and one of all, or none.
    pub(super) fn take(&self, asker: Asker, peer: IpAddr, now: Instant) -> Result<(), TooOften> {
        let group = match asker {
            Asker::Joiner => &self.joiners,
            Asker::Member => &self.members,
        };
        let mut group = group.lock().unwrap_or_else(PoisonError::into_inner);
        group.take(whose(peer), now)
    }
}

impl Group {
    fn take(&mut self, peer: IpAddr, now: Instant) -> Result<(), TooOften> {
        if self.peers.len() >= PEERS && !self.peers.contains_key(&peer) {
            // A full bucket says no more than none.
            self.peers.retain(|_, bucket| bucket.0 > now);
        }
        let room = self.peers.len() < PEERS;
        let own = self.peers.get(&peer).copied().unwrap_or(Bucket(now));
        let late = |all: bool| move |wait: Duration| TooOften { wait, all };
        // The peer's own first: who asks too often takes nothing from the others.
        let own = own.less_one(OF_PEER, now).map_err(late(false))?;
        self.all = self.all.less_one(OF_ALL, now).map_err(late(true))?;
        if room || self.peers.contains_key(&peer) {
            self.peers.insert(peer, own);
        }
        Ok(())
    }
}

impl Rate {
    const fn new(per_second: u32, at_once: u32) -> Self {
        let each = Duration::from_micros(1_000_000 / per_second as u64);
        Self {
            each,
            whole: Duration::from_micros(1_000_000 / per_second as u64 * at_once as u64),
        }
    }
}

impl Bucket {
    /// The bucket without one token, or how long it takes until it has one.
    fn less_one(self, rate: Rate, now: Instant) -> Result<Self, Duration> {
        let full_at = self.0.max(now) + rate.each;
        let filling = full_at.saturating_duration_since(now);
        match filling.checked_sub(rate.whole) {
            None | Some(Duration::ZERO) => Ok(Self(full_at)),
            Some(wait) => Err(wait),
        }
    }
}

/// An IPv6 host has a whole /64 to ask from.
fn whose(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(addr) => {
            let network = u128::from(addr) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(network))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(pace: &Pace, asker: Asker, peer: &str, now: Instant) -> usize {
        let peer = peer.parse().unwrap();
        (0..10_000)
            .take_while(|_| pace.take(asker, peer, now).is_ok())
            .count()
    }

    #[test]
    fn a_peer_has_100_at_once_and_20_a_second() {
        let now = Instant::now();
        let pace = Pace::new(now);
        assert_eq!(taken(&pace, Asker::Joiner, "10.0.0.1", now), 100);
        let refused = pace.take(Asker::Joiner, "10.0.0.1".parse().unwrap(), now);
        let wait = Duration::from_millis(50);
        assert_eq!(refused, Err(TooOften { wait, all: false }));
        let later = now + Duration::from_secs(2);
        assert_eq!(taken(&pace, Asker::Joiner, "10.0.0.1", later), 40);
        assert_eq!(taken(&pace, Asker::Joiner, "10.0.0.2", later), 100);
        assert_eq!(taken(&pace, Asker::Joiner, "::ffff:10.0.0.2", later), 0);
    }

    #[test]
    fn one_network_of_ipv6_is_one_peer() {
        let now = Instant::now();
        let pace = Pace::new(now);
        assert_eq!(taken(&pace, Asker::Joiner, "2001:db8:0:1::1", now), 100);
        assert_eq!(taken(&pace, Asker::Joiner, "2001:db8:0:1:ffff::2", now), 0);
        assert_eq!(taken(&pace, Asker::Joiner, "2001:db8:0:2::1", now), 100);
    }

    #[test]
    fn many_peers_share_one_bucket_and_leave_members_theirs() {
        let now = Instant::now();
        let pace = Pace::new(now);
        let ask = |n: u32| {
            pace.take(
                Asker::Joiner,
                Ipv6Addr::from(u128::from(n) << 64).into(),
                now,
            )
        };
        let passed = (0..5_000).filter(|n| ask(*n).is_ok()).count();
        assert_eq!(passed, 1000);
        let wait = Duration::from_millis(5);
        assert_eq!(ask(9_999), Err(TooOften { wait, all: true }));
        assert_eq!(taken(&pace, Asker::Member, "10.0.0.1", now), 100);
    }

    #[test]
    fn memory_is_bounded() {
        let start = Instant::now();
        let pace = Pace::new(start);
        for n in 0..20_000_u32 {
            let now = start + Duration::from_millis(u64::from(n));
            let _ = pace.take(
                Asker::Joiner,
                Ipv6Addr::from(u128::from(n) << 64).into(),
                now,
            );
        }
        assert!(pace.joiners.lock().unwrap().peers.len() <= PEERS);
    }
}
