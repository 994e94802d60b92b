use std::fmt;
use std::sync::Arc;

use http::{HeaderName, Method};
use regex::Regex;

/// A regular expression over a whole value; compared by its text.
#[derive(Clone)]
pub struct Pattern(Regex);

/// A condition on the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// The whole path.
    Exact(Arc<str>),
    /// Whole segments from the start. Never ends with `/`, so `/` itself is the empty text.
    Prefix(Arc<str>),
    /// A regular expression.
    Regex(Pattern),
}

/// A condition on a header or query parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueMatch {
    /// The whole value.
    Exact(Arc<str>),
    /// A regular expression.
    Regex(Pattern),
}

/// A condition on a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderMatch {
    pub(crate) name: HeaderName,
    pub(crate) value: ValueMatch,
}

/// A condition on a query parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryMatch {
    pub(crate) name: Arc<str>,
    pub(crate) value: ValueMatch,
}

/// A condition on a request; everything that is said must hold.
///
/// A condition on a gRPC method is one on the path (`/package.Service/Method`), and on the call
/// being gRPC.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RouteMatch {
    pub(crate) path: Option<PathMatch>,
    pub(crate) method: Option<Method>,
    pub(crate) headers: Vec<HeaderMatch>,
    pub(crate) query: Vec<QueryMatch>,
    pub(crate) grpc: bool,
}

/// A host that a route is limited to, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hostname {
    /// This host.
    Exact(Arc<str>),
    /// Any host that ends so; begins with a dot: `*.example.com` is `.example.com`.
    Suffix(Arc<str>),
}

// === impl Pattern ===

/// Memory that one compiled expression may take, in bytes.
const PATTERN_BYTES: usize = 1 << 20;

impl Pattern {
    /// Compiles `text`; it must match a whole value.
    pub fn new(text: &str) -> Result<Self, regex::Error> {
        // Alone first, so that `a)(b` is refused and not completed by our own parentheses.
        regex::RegexBuilder::new(text)
            .size_limit(PATTERN_BYTES)
            .build()?;
        regex::RegexBuilder::new(&format!("^(?:{text})$"))
            .size_limit(PATTERN_BYTES)
            .build()
            .map(Self)
    }

    /// Whether the whole of `value` matches. Takes time linear in its length.
    pub fn is_match(&self, value: &str) -> bool {
        self.0.is_match(value)
    }

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        let text = self.0.as_str();
        text.strip_prefix("^(?:")
            .and_then(|t| t.strip_suffix(")$"))
            .unwrap_or(text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.as_str())
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

// === impl PathMatch ===

impl PathMatch {
    /// Whole segments from the start; a `/` at the end makes no difference.
    pub fn prefix(text: &str) -> Self {
        Self::Prefix(text.trim_end_matches('/').into())
    }

    /// Whether `path` (without the query) matches.
    pub fn is_match(&self, path: &str) -> bool {
        match self {
            Self::Exact(text) => **text == *path,
            Self::Prefix(text) => path
                .strip_prefix(&**text)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            Self::Regex(pattern) => pattern.is_match(path),
        }
    }
}

// === impl ValueMatch ===

impl ValueMatch {
    /// Whether `value` matches.
    pub fn is_match(&self, value: &str) -> bool {
        match self {
            Self::Exact(text) => **text == *value,
            Self::Regex(pattern) => pattern.is_match(value),
        }
    }
}

// === impl HeaderMatch ===

impl HeaderMatch {
    /// The header `name` must have a value like `value`.
    pub fn new(name: HeaderName, value: ValueMatch) -> Self {
        Self { name, value }
    }

    /// Which header.
    pub fn name(&self) -> &HeaderName {
        &self.name
    }

    /// Which value.
    pub fn value(&self) -> &ValueMatch {
        &self.value
    }
}

// === impl QueryMatch ===

impl QueryMatch {
    /// The query parameter `name` must have a value like `value`.
    pub fn new(name: impl Into<Arc<str>>, value: ValueMatch) -> Self {
        Self {
            name: name.into(),
            value,
        }
    }

    /// Which parameter.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which value.
    pub fn value(&self) -> &ValueMatch {
        &self.value
    }
}

// === impl RouteMatch ===

impl RouteMatch {
    /// The condition that always holds.
    pub fn any() -> Self {
        Self::default()
    }

    /// Adds a condition on the path.
    #[must_use]
    pub fn with_path(mut self, path: PathMatch) -> Self {
        self.path = Some(path);
        self
    }

    /// Adds a condition on the method.
    #[must_use]
    pub fn with_method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// Adds a condition on a header.
    #[must_use]
    pub fn with_header(mut self, header: HeaderMatch) -> Self {
        self.headers.push(header);
        self
    }

    /// Adds a condition on a query parameter.
    #[must_use]
    pub fn with_query(mut self, query: QueryMatch) -> Self {
        self.query.push(query);
        self
    }

    /// Takes only gRPC calls.
    #[must_use]
    pub fn only_grpc(mut self) -> Self {
        self.grpc = true;
        self
    }

    /// The condition on the path.
    pub fn path(&self) -> Option<&PathMatch> {
        self.path.as_ref()
    }

    /// The condition on the method.
    pub fn method(&self) -> Option<&Method> {
        self.method.as_ref()
    }

    /// The conditions on headers, no two on one name.
    pub fn headers(&self) -> &[HeaderMatch] {
        &self.headers
    }

    /// The conditions on query parameters, no two on one name.
    pub fn query(&self) -> &[QueryMatch] {
        &self.query
    }

    /// Whether the call must be gRPC.
    pub fn is_grpc(&self) -> bool {
        self.grpc
    }
}

// === impl Hostname ===

impl Hostname {
    /// Whether `host` (without a port) is meant. Case does not matter.
    pub fn is_match(&self, host: &str) -> bool {
        let (host, text) = match self {
            Self::Exact(text) => (host, text),
            Self::Suffix(text) => match host.len().checked_sub(text.len()) {
                None | Some(0) => return false,
                Some(at) => match host.get(at..) {
                    Some(tail) => (tail, text),
                    None => return false,
                },
            },
        };
        host.eq_ignore_ascii_case(text)
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => f.write_str(text),
            Self::Suffix(text) => write!(f, "*{text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_at_a_segment() {
        let prefix = PathMatch::prefix("/a/b/");
        assert!(prefix.is_match("/a/b") && prefix.is_match("/a/b/") && prefix.is_match("/a/b/c"));
        assert!(!prefix.is_match("/a/bc") && !prefix.is_match("/a"));
        assert!(PathMatch::prefix("/").is_match("/anything"));
    }

    #[test]
    fn a_pattern_must_match_all_of_the_value() {
        let pattern = Pattern::new("a|b").unwrap();
        assert!(pattern.is_match("a") && pattern.is_match("b"));
        assert!(!pattern.is_match("ab") && !pattern.is_match("xa"));
        assert_eq!(pattern.as_str(), "a|b");
        assert!(Pattern::new("a)(b").is_err());
    }

    #[test]
    fn a_wildcard_host_needs_a_label_in_front() {
        let host = Hostname::Suffix(".example.com".into());
        assert!(host.is_match("a.example.com") && host.is_match("a.b.EXAMPLE.com"));
        assert!(!host.is_match(".example.com") && !host.is_match("example.com"));
    }
}
