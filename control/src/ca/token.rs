//! The join token: `mesh1.<secret>.<sha256 of the CA certificate>`.
//!
//! It proves two things at once: the secret that the joiner may join, and the hash, to the joiner,
//! that it speaks to the right control server before it sends the secret.

use std::path::Path;

use aws_lc_rs::constant_time::verify_slices_are_equal;

use crate::{Error, files};

const VERSION: &str = "mesh1";
/// 256 bits.
const SECRET_BYTES: usize = 32;

/// The secret that lets a workload join.
pub(crate) struct JoinToken(String);

impl std::fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JoinToken(..)")
    }
}

impl JoinToken {
    /// Loads the token of the state directory, or makes one. A token of another CA is replaced: it
    /// could never be used.
    pub(crate) fn open(path: &Path, ca_fingerprint: &str) -> Result<Self, Error> {
        let unusable = || {
            Error::new(
                "M5003",
                format!("state directory: {} is unusable", path.display()),
                format!(
                    "remove {}: the next start makes a new join token",
                    path.display()
                ),
            )
        };
        let kept = files::read_secret(path).map_err(|error| unusable().with_source(error))?;
        if let Some(text) = kept {
            let text = text.trim();
            let mut parts = text.split('.');
            let well_formed = parts.next() == Some(VERSION)
                && parts.next().is_some_and(|secret| secret.len() >= 32)
                && parts.next() == Some(ca_fingerprint)
                && parts.next().is_none();
            if well_formed {
                return Ok(Self(text.to_owned()));
            }
        }
        let mut secret = [0_u8; SECRET_BYTES];
        aws_lc_rs::rand::fill(&mut secret)
            .map_err(|_| unusable().with_source("no randomness from the system"))?;
        let token = format!("{VERSION}.{}.{ca_fingerprint}", base64url(&secret));
        files::write_atomic(path, format!("{token}\n").as_bytes())
            .map_err(|error| unusable().with_source(error))?;
        Ok(Self(token))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `presented` is this token, in a time that does not depend on where they differ.
    pub(crate) fn matches(&self, presented: &str) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), presented.trim().as_bytes()).is_ok()
    }
}

/// RFC 4648 section 5 without padding; 32 bytes are 43 characters.
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut word = 0_u32;
        for (ix, byte) in chunk.iter().enumerate() {
            word |= u32::from(*byte) << (16 - 8 * ix);
        }
        for ix in 0..=chunk.len() {
            let index = (word >> (18 - 6 * ix)) & 0x3f;
            text.push(char::from(ALPHABET[index as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn base64url_is_that_of_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg"),
        ] {
            assert_eq!(base64url(bytes.as_bytes()), text);
        }
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
        assert_eq!(crate::ca::hex(&[0, 255]), "00ff");
    }

    #[test]
    fn a_token_is_kept_and_only_itself_matches() {
        let dir = Scratch::new("token");
        let path = dir.path().join("join-token");
        let fingerprint = "ab".repeat(32);
        let token = JoinToken::open(&path, &fingerprint).unwrap();
        let text = token.as_str().to_owned();
        assert!(token.matches(&text) && token.matches(&format!("{text}\n")));
        let mut other = text.clone();
        other.pop();
        assert!(
            !token.matches(&other) && !token.matches("") && !token.matches(&text.to_uppercase())
        );
        assert_eq!(JoinToken::open(&path, &fingerprint).unwrap().as_str(), text);
        let renewed = JoinToken::open(&path, &"cd".repeat(32)).unwrap();
        assert_ne!(renewed.as_str(), text, "a token of another CA is of no use");
    }
}
