use std::borrow::Cow;

use crate::policy::model::{QueryMatch, ValueMatch};

/// Whether the query has the parameter with a value like the one asked for. Of a parameter that is
/// given more than once, the first counts (Gateway API leaves this to implementations).
pub(super) fn accepts(query: Option<&str>, condition: &QueryMatch) -> bool {
    let pairs = query.unwrap_or("").split('&');
    let value = pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(name, _)| decoded(name).eq(condition.name().bytes()))
        .map(|(_, value)| value);
    match (value, condition.value()) {
        (None, _) => false,
        (Some(value), ValueMatch::Exact(text)) => decoded(value).eq(text.bytes()),
        (Some(value), ValueMatch::Regex(pattern)) => pattern.is_match(&owned(value)),
    }
}

/// The first value of a parameter, unescaped.
pub(super) fn first<'a>(
    query: Option<&'a str>,
    name: &str,
) -> Option<impl Iterator<Item = u8> + 'a> {
    let pairs = query.unwrap_or("").split('&');
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(found, _)| decoded(found).eq(name.bytes()))
        .map(|(_, value)| decoded(value))
}

/// The bytes behind `%41` and `+`. A `%` that begins no escape stands for itself.
fn decoded(text: &str) -> impl Iterator<Item = u8> + '_ {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let (&first, tail) = rest.split_first()?;
        if let (b'%', [high, low, after @ ..]) = (first, tail)
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            rest = after;
            return Some(high << 4 | low);
        }
        rest = tail;
        Some(if first == b'+' { b' ' } else { first })
    })
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|d| d as u8)
}

fn owned(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let bytes: Vec<u8> = decoded(text).collect();
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::model::Pattern;

    #[test]
    fn values_are_compared_unescaped() {
        let is = |query, name: &str, value: &str| {
            accepts(
                Some(query),
                &QueryMatch::new(name, ValueMatch::Exact(value.into())),
            )
        };
        assert!(is("a=1&b=2", "b", "2"));
        assert!(is("a=x%20y", "a", "x y") && is("a=x+y", "a", "x y"));
        assert!(is("%61=1", "a", "1") && is("a=%zz", "a", "%zz") && is("a=%4", "a", "%4"));
        assert!(is("flag", "flag", "") && is("a=1=2", "a", "1=2"));
        assert!(is("a=1&a=2", "a", "1") && !is("a=1&a=2", "a", "2"));
        assert!(!is("ab=1", "a", "1") && !is("", "a", ""));
        assert!(!accepts(
            None,
            &QueryMatch::new("a", ValueMatch::Exact("".into()))
        ));
    }

    #[test]
    fn an_expression_sees_the_unescaped_value() {
        let pattern = ValueMatch::Regex(Pattern::new("x y|[0-9]+").unwrap());
        let condition = QueryMatch::new("a", pattern);
        assert!(accepts(Some("a=x%20y"), &condition));
        assert!(accepts(Some("a=42"), &condition));
        assert!(!accepts(Some("a=x"), &condition));
    }
}
