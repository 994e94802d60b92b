//! A value that is either fixed or follows a watch: how readers see policy.
//!
//! Every clone keeps its own `Arc` of the last value seen, so a read is one atomic compare of
//! versions and a borrow. `watch::Receiver::borrow` alone would take a read lock per call, and
//! `Arc::clone` a contended increment. When the sender is gone, the last value stays in force: it
//! is read once more (the sender may have published just before it went) and then kept.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

/// A fixed or watched value with a cached `Arc` per clone.
pub struct Live<T> {
    cached: Arc<T>,
    source: Option<watch::Receiver<Arc<T>>>,
}

/// The watched value will not change any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value will not change any more")]
pub struct Closed;

// === impl Live ===

impl<T> Live<T> {
    /// A value that never changes.
    pub fn fixed(value: T) -> Self {
        Self {
            cached: Arc::new(value),
            source: None,
        }
    }

    /// A value that follows `source`.
    pub fn watched(mut source: watch::Receiver<Arc<T>>) -> Self {
        let cached = Arc::clone(&source.borrow_and_update());
        Self {
            cached,
            source: Some(source),
        }
    }

    /// The newest value: one atomic version compare when nothing changed.
    pub fn get(&mut self) -> &Arc<T> {
        if let Some(source) = &mut self.source {
            match source.has_changed() {
                Ok(false) => {}
                Ok(true) => self.cached = Arc::clone(&source.borrow_and_update()),
                Err(_) => {
                    self.cached = Arc::clone(&source.borrow_and_update());
                    self.source = None;
                }
            }
        }
        &self.cached
    }

    /// The value seen by the last [`Live::get`], without looking for a newer one.
    pub fn last(&self) -> &Arc<T> {
        &self.cached
    }

    /// Waits for a value that this clone has not seen, and caches it. A fixed value, or one whose
    /// sender is gone, is [`Closed`] at once.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        let Some(source) = &mut self.source else {
            return Err(Closed);
        };
        let changed = source.changed().await;
        self.cached = Arc::clone(&source.borrow_and_update());
        if changed.is_err() {
            self.source = None;
            return Err(Closed);
        }
        Ok(())
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self {
            cached: Arc::clone(&self.cached),
            source: self.source.clone(),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("cached", &self.cached)
            .field("watched", &self.source.is_some())
            .finish()
    }
}

impl<T> From<watch::Receiver<Arc<T>>> for Live<T> {
    fn from(source: watch::Receiver<Arc<T>>) -> Self {
        Self::watched(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_value_is_the_same_arc_for_ever() {
        let mut live = Live::fixed(7);
        let first = Arc::clone(live.get());
        assert!(Arc::ptr_eq(&first, live.get()));
        assert!(Arc::ptr_eq(&first, live.clone().get()));
    }

    #[test]
    fn each_clone_sees_a_change_once_it_asks() {
        let (send, receive) = watch::channel(Arc::new(1));
        let mut one = Live::watched(receive);
        let mut two = one.clone();
        send.send_replace(Arc::new(2));
        assert_eq!(**one.last(), 1);
        assert_eq!(**one.get(), 2);
        assert_eq!(**two.get(), 2);
    }

    #[test]
    fn a_value_published_just_before_the_sender_went_is_read() {
        let (send, receive) = watch::channel(Arc::new(1));
        let mut live = Live::watched(receive);
        send.send_replace(Arc::new(2));
        drop(send);
        assert_eq!(**live.get(), 2);
        assert_eq!(**live.get(), 2);
    }

    #[tokio::test]
    async fn waiting_ends_with_a_change_or_with_the_sender() {
        let (send, receive) = watch::channel(Arc::new(1));
        let mut live = Live::watched(receive);
        send.send_replace(Arc::new(2));
        assert_eq!(live.changed().await, Ok(()));
        assert_eq!(**live.last(), 2);
        send.send_replace(Arc::new(3));
        drop(send);
        assert_eq!(live.changed().await, Ok(()));
        assert_eq!(**live.last(), 3);
        assert_eq!(live.changed().await, Err(Closed));
        assert_eq!(Live::fixed(1).changed().await, Err(Closed));
    }
}
