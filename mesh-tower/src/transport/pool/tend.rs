//! What happens to connections between calls: idle ones are closed, old ones are replaced before
//! they are let go.

use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::Shared;
use crate::runtime::{self, AbortOnDrop};
use crate::tls::Alpn;
use crate::transport::h2;

/// A connection that could not be replaced is kept for this long before another try.
const AGAIN: Duration = Duration::from_secs(1);
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);
const SHORTEST_SLEEP: Duration = Duration::from_millis(10);

/// What one look at a shard came to.
struct Look {
    next: Instant,
    aged: Vec<Arc<h2::Connection>>,
    /// Nothing is left, or what there is has calls.
    empty: bool,
}

impl Shared {
    /// Starts the task that looks after a shard's connections, if there is none.
    pub(super) fn look_after(self: &Arc<Self>, shard: usize, reaper: &mut Option<AbortOnDrop>) {
        if reaper.as_ref().is_none_or(AbortOnDrop::is_finished)
            && tokio::runtime::Handle::try_current().is_ok()
        {
            *reaper = Some(AbortOnDrop::spawn(look_after(Arc::downgrade(self), shard)));
        }
    }

    /// Those that look after the connections, one a shard that has any.
    #[cfg(test)]
    pub(in crate::transport) fn reapers(&self) -> Vec<tokio::task::Id> {
        let of = |shard: &super::shard::Shard| shard.lock().reaper.as_ref().map(AbortOnDrop::id);
        self.shards.iter().filter_map(of).collect()
    }

    /// Closes what is idle or dead; `None` when nothing is left, as at the look before.
    fn tend(&self, shard: usize, now: Instant, was_empty: bool) -> Option<Look> {
        let policy = self.terms.policy();
        let idle = policy.idle_timeout();
        let shortest = policy.max_age().map_or(idle, |age| age.min(idle));
        let pause = (shortest / 2).clamp(SHORTEST_SLEEP, LONGEST_SLEEP);
        let mut next = now + pause;
        let mut aged = Vec::new();
        let mut lists = self.shards[shard].lock();
        lists.idle.retain(|connection| {
            let end = self.terms.ends(connection.born);
            next = next.min(end.unwrap_or(next));
            let idle_for = now.saturating_duration_since(connection.idle_since);
            !connection.send.is_closed() && idle_for < idle && end.is_none_or(|end| end > now)
        });
        lists.h2.retain(|connection| {
            if connection.is_closed() || connection.is_used_up(&self.terms) {
                return false;
            }
            let looked = connection.look(&self.terms, now);
            if looked.idle_for >= idle {
                return false;
            }
            let Some(end) = looked.ends else {
                return true;
            };
            if end > now {
                next = next.min(end);
                return true;
            }
            // Nobody has used it since the last look: nobody needs another one at once.
            if looked.idle_for > Duration::ZERO {
                return false;
            }
            aged.push(connection.clone());
            true
        });
        let empty = lists.idle.is_empty() && lists.h2.is_empty();
        if empty && was_empty {
            // Dropping the handle of the task that runs this would only mark it aborted.
            lists.reaper = None;
            return None;
        }
        Some(Look { next, aged, empty })
    }

    /// Makes a connection that takes the calls of an old one, then lets the old one finish.
    async fn replace(self: &Arc<Self>, shard: usize, old: &Arc<h2::Connection>) {
        let Some(place) = self.try_place() else {
            self.give_up_h2(shard, old);
            return old.not_before(runtime::now() + AGAIN);
        };
        let made = match self.connect_with(place, Alpn::Http2).await {
            Ok(raw) if raw.h2 => self.open_h2(shard, raw).await.ok(),
            _ => None,
        };
        let Some(new) = made else {
            return old.not_before(runtime::now() + AGAIN);
        };
        self.keep_h2(shard, new);
        let mut lists = self.shards[shard].lock();
        lists.h2.retain(|one| !Arc::ptr_eq(one, old));
    }
}

/// Looks after the connections of a shard until there are none at two looks in a row: at one, the only
/// connection may have a call, and a task for each call is more than the call.
async fn look_after(shared: Weak<Shared>, shard: usize) {
    let Some(changed) = shared.upgrade().map(|shared| shared.terms.changed.clone()) else {
        return;
    };
    let mut was_empty = false;
    loop {
        let mut changed = pin!(changed.notified());
        changed.as_mut().enable();
        let next = {
            let Some(shared) = shared.upgrade() else {
                return;
            };
            let now = runtime::now();
            let Some(look) = shared.tend(shard, now, was_empty) else {
                return;
            };
            was_empty = look.empty;
            for old in &look.aged {
                shared.replace(shard, old).await;
            }
            match look.aged.is_empty() {
                true => look.next.max(now + SHORTEST_SLEEP),
                // Their successors have ends of their own.
                false => now + SHORTEST_SLEEP,
            }
        };
        tokio::select! {
            () = tokio::time::sleep_until(next.into()) => {}
            () = changed => {}
        }
    }
}
