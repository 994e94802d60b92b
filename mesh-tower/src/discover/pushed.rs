use std::sync::Arc;

use mesh_core::balance::EndpointInfo;
use tokio::sync::watch;

use super::{Answers, Discover};

/// The handle of a source that is fed by code, such as a control-plane client.
#[derive(Clone, Debug)]
pub struct PushedEndpoints(Arc<watch::Sender<Option<Arc<[EndpointInfo]>>>>);

/// A source that has no answer until [`PushedEndpoints::set`].
pub fn pushed() -> PushedEndpoints {
    PushedEndpoints(Arc::new(watch::Sender::new(None)))
}

// === impl PushedEndpoints ===

impl PushedEndpoints {
    /// The whole new answer; `None` takes the answer back. Equal answers wake nobody.
    pub fn set(&self, endpoints: Option<Vec<EndpointInfo>>) {
        self.0.send_if_modified(|now| {
            let changed = now.as_deref() != endpoints.as_deref();
            if changed {
                *now = endpoints.map(Into::into);
            }
            changed
        });
    }

    /// Whether anybody listens.
    pub fn is_watched(&self) -> bool {
        self.0.receiver_count() > 0
    }
}

impl Discover for PushedEndpoints {
    fn watch(self) -> Answers {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_answers_wake_nobody() {
        let endpoints = pushed();
        let mut watch = endpoints.clone().watch();
        assert_eq!(*watch.borrow_and_update(), None);
        let one = EndpointInfo::new(([127, 0, 0, 1], 1).into());
        endpoints.set(Some(vec![one.clone()]));
        assert!(watch.has_changed().expect("alive"));
        assert_eq!(
            watch.borrow_and_update().as_deref(),
            Some(&[one.clone()][..])
        );
        endpoints.set(Some(vec![one]));
        assert!(!watch.has_changed().expect("alive"));
        endpoints.set(None);
        assert!(watch.has_changed().expect("alive"));
    }
}
