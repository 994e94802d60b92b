//! Names of everything that the mesh measures.

pub mod names;

pub use names::{MetricInfo, MetricType};
