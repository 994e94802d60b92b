use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Rate;
use crate::clock;

/// Parts of the table, each with a lock of its own.
const SHARDS: usize = 16;
/// Most keys of one limit.
const KEYS: usize = 10_000;

/// One bucket per key, for a bounded number of keys.
///
/// A key is 128 bits of hash under two secrets, so a long header costs no memory and nobody can
/// make keys that meet. When a shard is full, keys that are idle (their bucket is full again) make
/// room: forgetting them changes nothing. When none is idle, further keys share one bucket, so
/// that who sends a new key with each call gets the rate of one key and not a fresh burst each.
pub struct Keyed {
    secrets: [RandomState; 2],
    shards: [Mutex<Shard>; SHARDS],
    most: usize,
}

#[derive(Default)]
struct Shard {
    due: HashMap<u128, u64, Plain>,
    /// The bucket of keys for which there is no room.
    others: u64,
    /// When it was last looked for idle keys, so that a full shard is not searched at each call.
    searched: u64,
}

/// The key is a hash already.
#[derive(Clone, Copy, Default)]
struct Plain;

#[derive(Default)]
struct PlainHasher(u64);

// === impl Keyed ===

impl Keyed {
    /// A table of at most 10,000 keys.
    pub fn new() -> Self {
        Self::with_capacity(KEYS)
    }

    /// A table of at most `keys`, rounded up to a multiple of its 16 shards.
    pub fn with_capacity(keys: usize) -> Self {
        Self {
            secrets: [RandomState::new(), RandomState::new()],
            shards: Default::default(),
            most: keys.div_ceil(SHARDS).max(1),
        }
    }

    /// The number of a key.
    pub fn key(&self, parts: impl Hash) -> u128 {
        let [high, low] = &self.secrets;
        (u128::from(high.hash_one(&parts)) << 64) | u128::from(low.hash_one(&parts))
    }

    /// How many keys are remembered.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).due.len()).sum()
    }

    /// Whether no key is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counts a call of `key`; see [`Cell::take`](super::Cell::take).
    ///
    /// # Errors
    /// The time until the call would be allowed.
    pub fn take(&self, key: u128, rate: Rate, now: Instant, percent: u32) -> Result<(), Duration> {
        let now = clock::nanos(now);
        let mut shard = self.shard(key);
        let next = rate.step(shard.due(key, self.most, now), now, percent)?;
        shard.set(key, self.most, next);
        Ok(())
    }

    /// What [`Keyed::take`] would say.
    ///
    /// # Errors
    /// The time until a call would be allowed.
    pub fn peek(&self, key: u128, rate: Rate, now: Instant, percent: u32) -> Result<(), Duration> {
        let now = clock::nanos(now);
        let mut shard = self.shard(key);
        let due = shard.due(key, self.most, now);
        rate.step(due, now, percent).map(drop)
    }

    /// Goes on under another rate; see [`Cell`](super::Cell).
    pub(super) fn rescale(&self, before: Rate, after: Rate, now: u64) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.others = after.rescale(before, shard.others, now);
            for due in shard.due.values_mut() {
                *due = after.rescale(before, *due, now);
            }
        }
    }

    fn shard(&self, key: u128) -> MutexGuard<'_, Shard> {
        lock(&self.shards[(key >> 64) as usize % SHARDS])
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Keyed {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Keyed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyed").field("keys", &self.len()).finish()
    }
}

// === impl Shard ===

impl Shard {
    /// When the next call of a key is due. Looks for room if the key is new. A new key begins where
    /// those without room are: one that was among them gets no second burst.
    fn due(&mut self, key: u128, most: usize, now: u64) -> u64 {
        if let Some(due) = self.due.get(&key) {
            return *due;
        }
        // A millisecond between two searches bounds what an attacker can make us do.
        if self.due.len() >= most && now.saturating_sub(self.searched) >= 1_000_000 {
            self.searched = now;
            self.due.retain(|_, due| *due > now);
        }
        self.others
    }

    fn set(&mut self, key: u128, most: usize, due: u64) {
        if self.due.len() < most {
            self.due.insert(key, due);
        } else if let Some(known) = self.due.get_mut(&key) {
            *known = due;
        } else {
            self.others = due;
        }
    }
}

// === impl Plain ===

impl BuildHasher for Plain {
    type Hasher = PlainHasher;

    fn build_hasher(&self) -> PlainHasher {
        PlainHasher::default()
    }
}

impl Hasher for PlainHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}
