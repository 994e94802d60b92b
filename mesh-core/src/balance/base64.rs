//! base64 (RFC 4648), for reports in gRPC's binary metadata.

/// Bytes of base64 text, in either alphabet, up to its padding.
pub(super) struct Base64<'a> {
    text: std::slice::Iter<'a, u8>,
    bits: u32,
    number: u32,
    pub(super) valid: bool,
}

impl<'a> Base64<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        let text = text.strip_suffix(b"=").unwrap_or(text);
        let text = text.strip_suffix(b"=").unwrap_or(text);
        Self {
            text: text.iter(),
            bits: 0,
            number: 0,
            valid: true,
        }
    }
}

impl Iterator for Base64<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        while self.number < 8 {
            let value = match self.text.next()? {
                letter @ b'A'..=b'Z' => letter - b'A',
                letter @ b'a'..=b'z' => letter - b'a' + 26,
                digit @ b'0'..=b'9' => digit - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                _ => {
                    self.valid = false;
                    return None;
                }
            };
            self.bits = self.bits << 6 | u32::from(value);
            self.number += 6;
        }
        self.number -= 8;
        Some((self.bits >> self.number) as u8)
    }
}

pub(super) fn encode_base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut bits = 0_u32;
        for at in 0..3 {
            bits = bits << 8 | u32::from(chunk.get(at).copied().unwrap_or(0));
        }
        for at in 0..=chunk.len() {
            let value = bits >> (18 - 6 * at) & 63;
            text.push(char::from(ALPHABET[value as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Base64, encode_base64};

    #[test]
    fn base64_vectors_of_rfc_4648() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg"),
            ("fooba", "Zm9vYmE"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode_base64(plain.as_bytes()), coded);
            for padding in ["", "=", "=="] {
                let text = format!("{coded}{padding}");
                let bytes: Vec<u8> = Base64::new(text.as_bytes()).collect();
                assert_eq!(bytes, plain.as_bytes());
            }
        }
    }
}
