use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// A change on the way of a call.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Filter {
    /// Edits headers of the request.
    RequestHeaders(HeaderEdit),
    /// Edits headers of the response.
    ResponseHeaders(HeaderEdit),
    /// Answers with a redirect.
    Redirect(Redirect),
    /// Changes host or path of the request.
    Rewrite(Rewrite),
}

/// Edits of headers, applied in the order set, add, remove.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct HeaderEdit {
    pub(crate) set: Vec<(HeaderName, HeaderValue)>,
    pub(crate) add: Vec<(HeaderName, HeaderValue)>,
    pub(crate) remove: Vec<HeaderName>,
}

/// Where a redirect points. What is `None` stays as in the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    pub(crate) scheme: Option<Arc<str>>,
    pub(crate) host: Option<Arc<str>>,
    pub(crate) path: Option<PathEdit>,
    pub(crate) port: Option<u16>,
    pub(crate) status: StatusCode,
}

/// Host and path of the request that is sent. What is `None` stays.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Rewrite {
    pub(crate) host: Option<Arc<str>>,
    pub(crate) path: Option<PathEdit>,
}

/// A change of the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathEdit {
    /// All of it.
    Full(Arc<str>),
    /// The prefix that the rule matched.
    Prefix(Arc<str>),
}

// === impl HeaderEdit ===

impl HeaderEdit {
    /// Edits `headers`: set, add, remove.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.set {
            headers.insert(name.clone(), value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name.clone(), value.clone());
        }
        for name in &self.remove {
            headers.remove(name);
        }
    }

    /// Headers that are replaced, or added when absent.
    pub fn set(&self) -> &[(HeaderName, HeaderValue)] {
        &self.set
    }

    /// Headers that are added beside what is there.
    pub fn add(&self) -> &[(HeaderName, HeaderValue)] {
        &self.add
    }

    /// Headers that are removed.
    pub fn remove(&self) -> &[HeaderName] {
        &self.remove
    }
}

// === impl Redirect ===

impl Redirect {
    /// Scheme.
    pub fn scheme(&self) -> Option<&str> {
        self.scheme.as_deref()
    }

    /// Host.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// Path.
    pub fn path(&self) -> Option<&PathEdit> {
        self.path.as_ref()
    }

    /// Port.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Status of the answer.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

// === impl Rewrite ===

impl Rewrite {
    /// Host.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// Path.
    pub fn path(&self) -> Option<&PathEdit> {
        self.path.as_ref()
    }
}

// === impl PathEdit ===

impl PathEdit {
    /// The new path for `path`, of which `matched` was the matched prefix
    /// ([`Matched::prefix`](crate::route::Matched::prefix)). Always starts with `/`.
    pub fn apply(&self, path: &str, matched: Option<&str>) -> String {
        let new = match self {
            Self::Full(new) => new.to_string(),
            Self::Prefix(new) => {
                let matched = matched.unwrap_or("").trim_end_matches('/');
                let rest = path.strip_prefix(matched).unwrap_or(path);
                let new = new.trim_end_matches('/');
                match rest.strip_prefix('/') {
                    Some(rest) => format!("{new}/{rest}"),
                    None => format!("{new}{rest}"),
                }
            }
        };
        if new.starts_with('/') {
            new
        } else {
            format!("/{new}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_replaced_as_gateway_api_has_it() {
        // The table of HTTPPathModifier's documentation, all eleven rows, and our own last one.
        for (path, matched, new, expected) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo/bar", "/foo", "", "/bar"),
            ("/foo/bar", "/foo", "/", "/bar"),
            ("/foo/", "/foo", "", "/"),
            ("/foo", "/foo", "/", "/"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo", "/foo", "", "/"),
            ("/foo/", "/foo", "/", "/"),
            ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
            ("/a", "", "/x", "/x/a"),
        ] {
            let edit = PathEdit::Prefix(new.into());
            assert_eq!(edit.apply(path, Some(matched)), expected, "{path} {new}");
        }
        assert_eq!(PathEdit::Full("/z".into()).apply("/foo", None), "/z");
    }
}
