//! What a policy text may cost. Whatever is above is refused with M3023.

/// Longest text, in bytes.
pub const TEXT_BYTES: usize = 4 << 20;
/// Most resources of all texts together.
pub const RESOURCES: usize = 10_000;
/// Deepest nesting. The schema itself needs 10.
pub const DEPTH: usize = 32;
/// Most nodes of one text, with aliases expanded.
pub const NODES: usize = 1_000_000;
/// Most aliases of one text.
pub const ALIASES: usize = 10_000;
/// Most values of one document that aliases may add.
pub const EXPANSION: usize = 100_000;
/// Most problems that are reported; the rest is counted.
pub const PROBLEMS: usize = 1_000;
