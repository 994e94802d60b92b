//! Shared parts of the benches: the bare hyper client that the mesh's client is compared with, and an upstream to call.
//!
//! Figures are ratios within one run, rounds interleaved, medians: the machines are noisy, and only a ratio carries.

pub mod admission;
pub mod bare;
pub mod cpu;
pub mod decisions;
pub mod peers;
pub mod upstream;
