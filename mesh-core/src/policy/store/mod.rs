//! What is in force: resources by layer, the last good snapshot, and a watch on it.
//!
//! ```text
//! Code < File < Control      a resource of a higher layer replaces the same one of a lower layer
//! ```
//!
//! [`Store::apply`] replaces one layer as a whole, validates everything together, and publishes
//! once. A layer that is refused changes nothing: readers keep the last good snapshot, and the
//! store remembers why. Parts that did not change stay the same `Arc`.

mod layers;

pub use layers::{Layer, Store, Updates};
