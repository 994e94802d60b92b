//! Hashes that picks are made by: XXH64, as Envoy and gRPC have it (gRFC A42).

use std::fmt::{self, Write};
use std::hash::Hasher;

use twox_hash::XxHash64;

use super::EndpointInfo;

/// XXH64 of `bytes`.
pub(super) fn xxh64(bytes: &[u8], seed: u64) -> u64 {
    XxHash64::oneshot(seed, bytes)
}

/// XXH64 of what is written to it, without a buffer.
pub(super) struct TextHash(XxHash64);

impl TextHash {
    pub(super) fn new(seed: u64) -> Self {
        Self(XxHash64::with_seed(seed))
    }

    /// The hash of `text` as it would be displayed.
    pub(super) fn of(seed: u64, text: fmt::Arguments<'_>) -> u64 {
        let mut hash = Self::new(seed);
        // Writing to a hash does not fail.
        let _ = hash.write_fmt(text);
        hash.finish()
    }

    pub(super) fn finish(&self) -> u64 {
        self.0.finish()
    }
}

impl Write for TextHash {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

/// A name of an endpoint that every process computes alike: XXH64 of `host:port`, and of the
/// identity where there is one.
pub(super) fn stable_id(info: &EndpointInfo) -> u64 {
    match &info.identity {
        None => TextHash::of(0, format_args!("{}", info.addr)),
        Some(identity) => TextHash::of(0, format_args!("{}|{identity}", info.addr)),
    }
}

/// The hash of a request, put together of parts (A42, Envoy): each part that is there is xored in
/// after a rotation by one, so that the order counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestHash(Option<u64>);

// === impl RequestHash ===

impl RequestHash {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more part.
    #[must_use]
    pub fn and(self, part: u64) -> Self {
        Self(Some(match self.0 {
            Some(hash) => hash.rotate_left(1) ^ part,
            None => part,
        }))
    }

    /// With the hash of one more part.
    #[must_use]
    pub fn and_bytes(self, part: &[u8]) -> Self {
        self.and(xxh64(part, 0))
    }

    /// The hash; `None` when no part was there: then any endpoint is as good as another.
    pub fn get(self) -> Option<u64> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xxh64_reference_vectors() {
        // xxHash's own: the empty input, and "a", "abc" as its documentation and ports give them.
        assert_eq!(xxh64(b"", 0), 0xef46_db37_51d8_e999);
        assert_eq!(xxh64(b"a", 0), 0xd24e_c4f1_a98c_6e5b);
        assert_eq!(xxh64(b"abc", 0), 0x44bc_2cf5_ad77_0999);
        assert_eq!(
            TextHash::of(0, format_args!("{}{}", "a", "bc")),
            xxh64(b"abc", 0)
        );
    }

    #[test]
    fn a42_parts_are_combined_by_a_rotation_and_xor() {
        let (a, b) = (xxh64(b"alice", 0), xxh64(b"eu", 0));
        let both = RequestHash::new().and_bytes(b"alice").and_bytes(b"eu");
        assert_eq!(both.get(), Some(a.rotate_left(1) ^ b));
        let swapped = RequestHash::new().and_bytes(b"eu").and_bytes(b"alice");
        assert_ne!(both, swapped);
        assert_eq!(RequestHash::new().get(), None);
    }
}
