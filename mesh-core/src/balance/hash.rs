//! Hashes that tables are built by: XXH64, as Envoy and gRPC have it (gRFC A42). That of a request
//! is [`crate::route::key`]'s.

use std::fmt::{self, Write};
use std::hash::Hasher;

use twox_hash::XxHash64;

use super::EndpointInfo;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xxh64_reference_vectors() {
        // xxHash's own: the empty input, and "a", "abc" as its documentation and ports give them.
        let xxh64 = |text: &str| TextHash::of(0, format_args!("{text}"));
        assert_eq!(xxh64(""), 0xef46_db37_51d8_e999);
        assert_eq!(xxh64("a"), 0xd24e_c4f1_a98c_6e5b);
        assert_eq!(xxh64("abc"), 0x44bc_2cf5_ad77_0999);
        assert_eq!(
            TextHash::of(0, format_args!("{}{}", "a", "bc")),
            xxh64("abc")
        );
    }
}
