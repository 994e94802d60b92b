use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A service: the pair of namespace and name.
///
/// Displayed as `namespace/name`; ordered by namespace, then name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName {
    namespace: Arc<str>,
    name: Arc<str>,
}

/// Why a text is not the name of a service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the name of a service: {why}")]
pub struct NameError {
    text: String,
    why: &'static str,
}

// === impl ServiceName ===

impl ServiceName {
    /// A name from its two parts, each a DNS label.
    pub fn new(namespace: impl AsRef<str>, name: impl AsRef<str>) -> Result<Self, NameError> {
        let (namespace, name) = (namespace.as_ref(), name.as_ref());
        for part in [namespace, name] {
            check_label(part).map_err(|why| NameError::new(part, why))?;
        }
        Ok(Self {
            namespace: namespace.into(),
            name: name.into(),
        })
    }

    /// Reads any accepted spelling; a bare name belongs to `default_namespace`.
    pub fn parse(text: &str, default_namespace: &str) -> Result<Self, NameError> {
        if let Some((namespace, name)) = text.split_once('/') {
            return Self::new(namespace, name).map_err(|e| e.within(text));
        }
        let host = text.strip_suffix('.').unwrap_or(text);
        let host = host.strip_suffix(".svc.cluster.local").unwrap_or(host);
        let host = host.strip_suffix(".svc").unwrap_or(host);
        match host.split_once('.') {
            None => Self::new(default_namespace, host),
            Some((_, namespace)) if namespace.contains('.') => {
                Err(NameError::new(text, "more than `name.namespace`"))
            }
            Some((name, namespace)) => Self::new(namespace, name),
        }
        .map_err(|e| e.within(text))
    }

    /// The namespace, such as `shop`.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name within the namespace, such as `reviews`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The short host name, such as `reviews.shop`.
    pub fn host(&self) -> String {
        format!("{}.{}", self.name, self.namespace)
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Debug for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads `namespace/name` or a host with its namespace; a bare name belongs to `default`.
impl FromStr for ServiceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text, "default")
    }
}

impl Serialize for ServiceName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ServiceName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

// === impl NameError ===

impl NameError {
    pub(super) fn new(text: &str, why: &'static str) -> Self {
        Self {
            text: text.to_owned(),
            why,
        }
    }

    fn within(mut self, text: &str) -> Self {
        text.clone_into(&mut self.text);
        self
    }

    /// What is wrong, without the text itself.
    pub fn why(&self) -> &'static str {
        self.why
    }
}

/// Checks one DNS label (RFC 1123 section 2.1): 1 to 63 of `a-z`, `0-9` and `-`, no `-` at an end.
pub fn check_label(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("a part is empty");
    }
    if text.len() > 63 {
        return Err("a part is longer than 63 characters");
    }
    if !text
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    {
        return Err("only a-z, 0-9 and `-` are allowed");
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err("a part starts or ends with `-`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_means_the_same_service() {
        for text in [
            "shop/reviews",
            "reviews.shop",
            "reviews.shop.",
            "reviews.shop.svc",
            "reviews.shop.svc.cluster.local",
        ] {
            let name = ServiceName::parse(text, "other").unwrap();
            assert_eq!(name.to_string(), "shop/reviews", "{text}");
            assert_eq!(name.host(), "reviews.shop");
        }
        assert_eq!(
            ServiceName::parse("reviews", "shop").unwrap().to_string(),
            "shop/reviews"
        );
    }

    #[test]
    fn a_bad_name_says_why() {
        for (text, why) in [
            ("", "a part is empty"),
            ("shop/", "a part is empty"),
            ("a.b.c", "more than `name.namespace`"),
            ("Shop/x", "only a-z, 0-9 and `-` are allowed"),
            ("shop/x/y", "only a-z, 0-9 and `-` are allowed"),
            ("-a", "a part starts or ends with `-`"),
        ] {
            let error = ServiceName::parse(text, "default").unwrap_err();
            assert_eq!(error.why(), why, "{text}");
            assert!(error.to_string().contains(&format!("`{text}`")));
        }
    }
}
