use std::sync::Arc;

use tower_layer::Layer;

use super::{Shed, permit::Room};

/// Refuses requests above a number in work. All services made by one layer share the number.
#[derive(Clone, Debug)]
pub struct ShedLayer {
    room: Arc<Room>,
}

// === impl ShedLayer ===

impl ShedLayer {
    /// At most `limit` requests in work.
    pub fn new(limit: usize) -> Self {
        Self {
            room: Room::new(limit),
        }
    }

    /// How many requests are in work now.
    pub fn in_flight(&self) -> usize {
        self.room.used()
    }
}

impl<S> Layer<S> for ShedLayer {
    type Service = Shed<S>;

    fn layer(&self, inner: S) -> Shed<S> {
        Shed {
            inner,
            room: self.room.clone(),
        }
    }
}
