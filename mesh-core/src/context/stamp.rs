use std::fmt;

use http::{HeaderMap, HeaderValue};

use crate::metadata;

/// What a client says of the routing of a call in `x-mesh-routed`: the service that the caller
/// named, the rule that matched and the backend that the rule chose.
///
/// The callee counts calls by it. A call without it, or with the stamp of another service's rule,
/// came past the split of this one's: that is how a canary receives more than its weight. It is
/// a statement of the caller, good for counting and for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp<'a> {
    /// The service that was called, `shop/reviews`.
    pub service: &'a str,
    /// The name of its rule, `reviews/0`.
    pub route: &'a str,
    /// The backend, `shop/reviews-v2`.
    pub backend: &'a str,
}

/// Longest stamp that is read, in bytes.
const LONGEST: usize = 512;

// === impl Stamp ===

impl<'a> Stamp<'a> {
    /// Reads the stamp of a request.
    pub fn read(headers: &'a HeaderMap) -> Option<Self> {
        Self::parse(headers.get(metadata::ROUTED)?.to_str().ok()?)
    }

    /// Reads a header's text.
    pub fn parse(text: &'a str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let mut parts = text.split(';');
        let (service, route, backend) = (parts.next()?, parts.next()?, parts.next()?);
        let stamp = Self {
            service,
            route: route.strip_prefix("route=")?,
            backend: backend.strip_prefix("backend=")?,
        };
        (parts.next().is_none() && !service.is_empty()).then_some(stamp)
    }

    /// The header.
    pub fn to_header(&self) -> HeaderValue {
        let text: String = self
            .to_string()
            .chars()
            .map(|c| if c.is_ascii_graphic() { c } else { '_' })
            .collect();
        HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("1"))
    }
}

impl fmt::Display for Stamp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clean = |text: &str| text.replace(';', "_");
        let (service, route) = (clean(self.service), clean(self.route));
        write!(f, "{service};route={route};backend={}", clean(self.backend))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_reads_back_what_it_prints() {
        let stamp = Stamp {
            service: "shop/reviews",
            route: "reviews/0",
            backend: "shop/reviews-v2",
        };
        let header = stamp.to_header();
        assert_eq!(
            header,
            "shop/reviews;route=reviews/0;backend=shop/reviews-v2"
        );
        assert_eq!(Stamp::parse(header.to_str().unwrap()), Some(stamp));
        let odd = Stamp {
            route: "a;b ü",
            ..stamp
        };
        let header = odd.to_header();
        assert_eq!(
            Stamp::parse(header.to_str().unwrap()).unwrap().route,
            "a_b__"
        );
    }

    #[test]
    fn what_is_no_stamp_is_none() {
        let long = "x".repeat(LONGEST + 1);
        for text in [
            "",
            "1",
            "a;b;c",
            ";route=a;backend=b",
            "a;route=b;backend=c;d",
            &long,
        ] {
            assert_eq!(Stamp::parse(text), None, "{text}");
        }
    }
}
