use http::HeaderValue;

/// Longest baggage that is passed on, in bytes (W3C Baggage 3.3.2 asks for at least 8192).
pub const MAX_BAGGAGE: usize = 8192;

/// Baggage to pass on: as it came, unless it is empty or longer than [`MAX_BAGGAGE`]. It is never
/// read for a decision: any caller can write it.
pub fn accept_baggage(value: &HeaderValue) -> Option<HeaderValue> {
    (!value.is_empty() && value.len() <= MAX_BAGGAGE).then(|| value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn baggage_passes_up_to_the_limit() {
        let value = |len: usize| HeaderValue::from_str(&"a".repeat(len)).unwrap();
        assert_eq!(accept_baggage(&value(8192)), Some(value(8192)));
        assert_eq!(accept_baggage(&value(8193)), None);
        assert_eq!(accept_baggage(&value(0)), None);
    }
}
