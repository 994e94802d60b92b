//! A ring of time slots.

use std::collections::VecDeque;

/// The last `N` slots of something that adds up; only slots that hold something take room.
#[derive(Clone, Debug)]
pub(super) struct Ring<T, const N: u64> {
    slots: VecDeque<(u64, T)>,
}

impl<T, const N: u64> Default for Ring<T, N> {
    fn default() -> Self {
        Self {
            slots: VecDeque::new(),
        }
    }
}

impl<T: Default, const N: u64> Ring<T, N> {
    /// The slot of a time; a time before the newest slot counts into the newest.
    pub(super) fn at(&mut self, tick: u64) -> &mut T {
        let newest = self.slots.back().map(|(at, _)| *at);
        if newest.is_none_or(|newest| newest < tick) {
            self.drop_old(tick);
            self.slots.push_back((tick, T::default()));
        }
        let last = self.slots.len() - 1;
        &mut self.slots[last].1
    }

    /// Drops slots that no window at `now` can hold: the current one and `N` before it stay.
    pub(super) fn drop_old(&mut self, now: u64) {
        while self.slots.front().is_some_and(|(at, _)| at + N < now) {
            self.slots.pop_front();
        }
    }

    /// The `N` full slots before `now`, oldest first. The current slot is not full yet.
    pub(super) fn full(&self, now: u64) -> impl Iterator<Item = &T> {
        let inside = move |(at, _): &&(u64, T)| at + N >= now && *at < now;
        self.slots.iter().filter(inside).map(|(_, slot)| slot)
    }

    /// The full slots and the current one.
    pub(super) fn recent(&self, now: u64) -> impl Iterator<Item = &T> {
        self.slots
            .iter()
            .filter(move |(at, _)| at + N >= now)
            .map(|(_, slot)| slot)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}
