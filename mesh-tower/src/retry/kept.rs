use http::{HeaderMap, HeaderName, HeaderValue};

/// The headers of a request, for the case that it is sent again. Most are not, and a copy of a
/// `HeaderMap` is two allocations and one more for each value; this is one for all.
pub(super) struct Kept {
    count: usize,
    /// For each header: the lengths of name and value, and both.
    bytes: Vec<u8>,
}

/// A length has four bytes, of which the highest bit of the value's says that it is a secret.
const LENGTHS: usize = 8;
const SECRET: u32 = 1 << 31;

// === impl Kept ===

impl Kept {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let len = |(name, value): (&HeaderName, &HeaderValue)| {
            LENGTHS + name.as_str().len() + value.len()
        };
        let mut bytes = Vec::with_capacity(headers.iter().map(len).sum());
        for (name, value) in headers {
            let name = name.as_str();
            let secret = if value.is_sensitive() { SECRET } else { 0 };
            bytes.extend_from_slice(&length(name.len()).to_le_bytes());
            bytes.extend_from_slice(&(length(value.len()) | secret).to_le_bytes());
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(value.as_bytes());
        }
        Self {
            count: headers.len(),
            bytes,
        }
    }

    /// The same headers.
    pub(super) fn again(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(self.count);
        let mut rest = self.bytes.as_slice();
        while let Some((name, value)) = next(&mut rest) {
            headers.append(name, value);
        }
        headers
    }
}

/// No header is as long as 2 GiB.
fn length(len: usize) -> u32 {
    u32::try_from(len).map_or(!SECRET, |len| len & !SECRET)
}

fn next(rest: &mut &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let name_len = u32::from_le_bytes(*rest.split_off(..4)?.first_chunk()?);
    let value_len = u32::from_le_bytes(*rest.split_off(..4)?.first_chunk()?);
    let name = rest.split_off(..name_len as usize)?;
    let value = rest.split_off(..(value_len & !SECRET) as usize)?;
    let mut value = HeaderValue::from_bytes(value).ok()?;
    value.set_sensitive(value_len & SECRET != 0);
    Some((HeaderName::from_bytes(name).ok()?, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_as_they_were() {
        let mut headers = HeaderMap::new();
        headers.append("accept", HeaderValue::from_static("a"));
        headers.append("x-many", HeaderValue::from_static("1"));
        headers.append("x-many", HeaderValue::from_static("2"));
        headers.append("x-empty", HeaderValue::from_static(""));
        headers.append("x-raw", HeaderValue::from_bytes(&[0xff, b'\t']).unwrap());
        let mut secret = HeaderValue::from_static("Bearer x");
        secret.set_sensitive(true);
        headers.append("authorization", secret);
        let again = Kept::of(&headers).again();
        assert_eq!(again, headers);
        assert!(again["authorization"].is_sensitive());
        assert!(!again["accept"].is_sensitive());
        assert_eq!(Kept::of(&HeaderMap::new()).again(), HeaderMap::new());
    }
}
