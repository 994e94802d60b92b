//! Versions of resources.

use std::{fmt, hash::Hasher, str::FromStr};

/// The version of a resource: XXH64 of its content, sixteen hex digits on the wire.
///
/// Two processes that serve equal bytes serve equal versions, so a client may reconnect to another server, or to the
/// same one after a restart, and is sent nothing that it holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// The version of `content`.
    pub fn of(content: &[u8]) -> Self {
        let mut hasher = twox_hash::XxHash64::with_seed(0);
        hasher.write(content);
        Self(hasher.finish())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a version of this engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a version is sixteen hex digits")]
pub struct NotAVersion;

impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        if text.len() != 16 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(NotAVersion);
        }
        u64::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| NotAVersion)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_depends_on_the_content_alone_and_survives_its_text() {
        // XXH64 of the empty input with seed 0, as published with the algorithm.
        assert_eq!(Version::of(b"").to_string(), "ef46db3751d8e999");
        let version = Version::of(b"shop/reviews");
        assert_eq!(version.to_string().parse(), Ok(version));
        assert_ne!(version, Version::of(b"shop/ratings"));
    }

    #[test]
    fn other_texts_are_not_versions() {
        for text in [
            "",
            "1",
            "EF46DB3751D8E999",
            "+f46db3751d8e999",
            "ef46db3751d8e9990",
        ] {
            assert_eq!(text.parse::<Version>(), Err(NotAVersion), "{text}");
        }
    }
}
