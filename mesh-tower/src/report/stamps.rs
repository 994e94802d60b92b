use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, HeaderValue};
use mesh_core::context::Stamp;
use mesh_core::metadata;

use crate::telemetry::OTHER;

/// The most stamps that are told apart for one peer.
const MAX_STAMPS: usize = 64;

/// Calls of one peer by what it says of their routing.
#[derive(Debug, Default)]
pub(crate) struct Stamps {
    unrouted: Arc<AtomicU64>,
    /// Looked into when a connection brings a stamp that it had not brought before.
    by_text: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
}

/// The stamp that a connection brought last: the next one is the same, nearly always.
#[derive(Debug, Default)]
pub(crate) struct LastStamp(Option<(Option<HeaderValue>, Arc<AtomicU64>)>);

// === impl Stamps ===

impl Stamps {
    /// Counts a request that begins. A copy of a call is nobody's share.
    pub(crate) fn count(&self, headers: &HeaderMap, last: &mut LastStamp) {
        if headers.contains_key(metadata::MIRROR) {
            return;
        }
        let stamp = headers.get(metadata::ROUTED);
        match &last.0 {
            Some((known, count)) if known.as_ref() == stamp => {
                count.fetch_add(1, Relaxed);
            }
            _ => {
                let count = self.counter(stamp);
                count.fetch_add(1, Relaxed);
                last.0 = Some((stamp.cloned(), count));
            }
        }
    }

    fn counter(&self, stamp: Option<&HeaderValue>) -> Arc<AtomicU64> {
        let read = stamp.and_then(|value| Stamp::parse(value.to_str().ok()?));
        let Some(stamp) = read else {
            return self.unrouted.clone();
        };
        let mut all = self.by_text.lock().unwrap_or_else(PoisonError::into_inner);
        let text = stamp.to_string();
        let text = match all.len() < MAX_STAMPS || all.contains_key(&text) {
            true => text,
            false => OTHER.to_owned(),
        };
        all.entry(text).or_default().clone()
    }

    /// What was counted since the last call: by stamp, and without one.
    pub(crate) fn take(&self) -> (BTreeMap<String, u64>, u64) {
        let mut out = BTreeMap::new();
        let mut all = self.by_text.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|text, count| {
            let calls = count.swap(0, Relaxed);
            if calls > 0 {
                out.insert(text.clone(), calls);
            }
            // One that no connection brought last any more gives up its place.
            calls > 0 || Arc::strong_count(count) > 1
        });
        (out, self.unrouted.swap(0, Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(stamp: Option<&str>) -> HeaderMap {
        let stamp = stamp.map(|text| (metadata::ROUTED, HeaderValue::from_str(text).unwrap()));
        stamp.into_iter().collect()
    }

    #[test]
    fn calls_are_counted_by_stamp_and_without_one() {
        let (stamps, mut last) = (Stamps::default(), LastStamp::default());
        let one = "shop/a;route=r;backend=shop/b";
        for stamp in [Some(one), Some(one), None, Some("1"), Some(one)] {
            stamps.count(&with(stamp), &mut last);
        }
        let mut copy = with(Some(one));
        copy.insert(metadata::MIRROR, HeaderValue::from_static("1"));
        stamps.count(&copy, &mut last);
        assert_eq!(stamps.take(), ([(one.to_owned(), 3)].into(), 2));
        assert_eq!(stamps.take(), (BTreeMap::new(), 0));
    }

    #[test]
    fn a_peer_that_makes_stamps_up_is_counted_under_other() {
        let (stamps, mut last) = (Stamps::default(), LastStamp::default());
        for n in 0..1_000 {
            let stamp = format!("shop/a{n};route=r;backend=b");
            stamps.count(&with(Some(&stamp)), &mut last);
        }
        let (by_text, _) = stamps.take();
        assert_eq!(by_text.len(), MAX_STAMPS + 1);
        assert_eq!(by_text[OTHER], 1_000 - MAX_STAMPS as u64);
        stamps.take();
        stamps.count(&with(Some("shop/new;route=r;backend=b")), &mut last);
        assert!(stamps.take().0.contains_key("shop/new;route=r;backend=b"));
    }
}
