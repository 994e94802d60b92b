use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::name::ServiceName;

/// Longest id in bytes (SPIFFE-ID 2.3).
const MAX_ID: usize = 2048;
/// Longest trust domain in bytes (SPIFFE-ID 2.1).
const MAX_TRUST_DOMAIN: usize = 255;
const SCHEME: &str = "spiffe://";

/// A SPIFFE id: `spiffe://trust-domain/path`. One shared text, so a clone allocates nothing.
#[derive(Clone)]
pub struct SpiffeId {
    text: Arc<str>,
    /// Where the path begins (its `/`), or the end of the text.
    path_at: usize,
}

/// Why a text is not a SPIFFE id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpiffeError {
    /// More than 2048 bytes.
    #[error("the SPIFFE id is longer than 2048 bytes")]
    TooLong,
    /// It does not start with `spiffe://`.
    #[error("the SPIFFE id does not start with spiffe://")]
    Scheme,
    /// Empty, longer than 255 bytes, or with a character outside `a-z 0-9 . _ -`.
    #[error("the trust domain is not 1 to 255 of a-z, 0-9, `.`, `_` and `-`")]
    TrustDomain,
    /// A path segment that is empty (also: a trailing `/`), `.`, `..` or with a character outside
    /// `a-z A-Z 0-9 . _ -`.
    #[error("a path segment is empty, `.`, `..` or has a character outside a-z A-Z 0-9 . _ -")]
    Path,
}

// === impl SpiffeId ===

impl SpiffeId {
    /// Parses an id by the rules of SPIFFE-ID section 2. The scheme and the trust domain must be in
    /// lower case: ids are compared byte by byte everywhere else.
    pub fn parse(text: &str) -> Result<Self, SpiffeError> {
        if text.len() > MAX_ID {
            return Err(SpiffeError::TooLong);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeError::Scheme)?;
        let (domain, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        check_trust_domain(domain)?;
        for segment in path.split('/').skip(1) {
            let plain = segment
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
            if segment.is_empty() || segment == "." || segment == ".." || !plain {
                return Err(SpiffeError::Path);
            }
        }
        Ok(Self {
            text: text.into(),
            path_at: SCHEME.len() + domain.len(),
        })
    }

    /// The id of a service's workload: `spiffe://DOMAIN/ns/NAMESPACE/sa/NAME`.
    pub fn for_service(trust_domain: &str, service: &ServiceName) -> Result<Self, SpiffeError> {
        Self::parse(&format!(
            "{SCHEME}{trust_domain}/ns/{}/sa/{}",
            service.namespace(),
            service.name()
        ))
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The trust domain, such as `mesh.local`.
    pub fn trust_domain(&self) -> &str {
        self.text.get(SCHEME.len()..self.path_at).unwrap_or("")
    }

    /// The path with its leading `/`, or an empty text: an id without a path names the trust domain
    /// itself and never a workload.
    pub fn path(&self) -> &str {
        self.text.get(self.path_at..).unwrap_or("")
    }

    /// The service named by a path of the form `/ns/NAMESPACE/sa/NAME`.
    pub fn service(&self) -> Option<ServiceName> {
        let (namespace, name) = self.service_parts()?;
        ServiceName::new(namespace, name).ok()
    }

    /// Namespace and name of a path of the form `/ns/NAMESPACE/sa/NAME`, without allocating.
    pub fn service_parts(&self) -> Option<(&str, &str)> {
        let (namespace, name) = self.path().strip_prefix("/ns/")?.split_once("/sa/")?;
        (!namespace.contains('/') && !name.contains('/')).then_some((namespace, name))
    }
}

/// Checks a trust domain by itself (SPIFFE-ID 2.1).
pub fn check_trust_domain(text: &str) -> Result<(), SpiffeError> {
    let plain =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    if text.is_empty() || text.len() > MAX_TRUST_DOMAIN || !text.bytes().all(plain) {
        return Err(SpiffeError::TrustDomain);
    }
    Ok(())
}

impl PartialEq for SpiffeId {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for SpiffeId {}

impl Hash for SpiffeId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl PartialOrd for SpiffeId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SpiffeId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeError;

    fn from_str(text: &str) -> Result<Self, SpiffeError> {
        Self::parse(text)
    }
}

impl Serialize for SpiffeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for SpiffeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_id_is_its_trust_domain_and_path() {
        let id = SpiffeId::parse("spiffe://mesh.local/ns/shop/sa/reviews").unwrap();
        assert_eq!(id.trust_domain(), "mesh.local");
        assert_eq!(id.path(), "/ns/shop/sa/reviews");
        let service = id.service().unwrap();
        assert_eq!(service.to_string(), "shop/reviews");
        assert_eq!(SpiffeId::for_service("mesh.local", &service), Ok(id));
        let root = SpiffeId::parse("spiffe://example.org").unwrap();
        assert_eq!((root.trust_domain(), root.path()), ("example.org", ""));
        assert_eq!(root.service(), None);
    }

    #[test]
    fn other_path_forms_name_no_service() {
        for path in [
            "/ns/a/sa/b/c",
            "/ns/a/b/sa/c",
            "/x/ns/a/sa/b",
            "/ns/A/sa/b",
            "/ns/a",
        ] {
            let id = SpiffeId::parse(&format!("spiffe://d{path}")).unwrap();
            assert_eq!(id.service(), None, "{path}");
        }
    }

    #[test]
    fn what_the_standard_forbids_is_refused() {
        use SpiffeError::*;
        for (text, why) in [
            ("", Scheme),
            ("http://a/b", Scheme),
            ("SPIFFE://a/b", Scheme),
            ("spiffe:/a/b", Scheme),
            ("spiffe://", TrustDomain),
            ("spiffe:///b", TrustDomain),
            ("spiffe://Mesh.local/b", TrustDomain),
            ("spiffe://a:80/b", TrustDomain),
            ("spiffe://user@a/b", TrustDomain),
            ("spiffe://a%20/b", TrustDomain),
            ("spiffe://a?x", TrustDomain),
            ("spiffe://a/", Path),
            ("spiffe://a/b/", Path),
            ("spiffe://a//b", Path),
            ("spiffe://a/./b", Path),
            ("spiffe://a/../b", Path),
            ("spiffe://a/b%2f", Path),
            ("spiffe://a/b?q=1", Path),
            ("spiffe://a/b#f", Path),
            ("spiffe://a/\u{e9}", Path),
        ] {
            assert_eq!(SpiffeId::parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn lengths_are_limited_to_the_byte() {
        let id = |len: usize| format!("spiffe://a/{}", "b".repeat(len - 11));
        assert!(SpiffeId::parse(&id(2048)).is_ok());
        assert_eq!(SpiffeId::parse(&id(2049)), Err(SpiffeError::TooLong));
        let domain = |len: usize| format!("spiffe://{}/b", "a".repeat(len));
        assert!(SpiffeId::parse(&domain(255)).is_ok());
        assert_eq!(SpiffeId::parse(&domain(256)), Err(SpiffeError::TrustDomain));
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_keeps_the_text(text in "(spiffe://)?[a-z.]{0,6}(/[a-zA-Z./%]{0,8})?") {
            if let Ok(id) = SpiffeId::parse(&text) {
                prop_assert_eq!(id.as_str(), text.as_str());
                prop_assert_eq!(
                    format!("spiffe://{}{}", id.trust_domain(), id.path()), text);
            }
        }
    }
}
