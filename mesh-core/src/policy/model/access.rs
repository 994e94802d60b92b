use std::sync::Arc;

use http::Method;

use crate::identity::SpiffeId;
use crate::name::ServiceName;
use crate::policy::spec::ResourceId;

/// What happens to a call that no rule allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum AccessMode {
    /// No policy: every call is allowed.
    #[default]
    Open,
    /// It passes, and is counted and logged.
    Audit,
    /// It is denied.
    Enforce,
}

/// Who may call a service. Rules only allow.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct AccessModel {
    pub(crate) mode: AccessMode,
    pub(crate) rules: Vec<AccessRule>,
    pub(crate) origin: Option<ResourceId>,
}

/// Callers, and what they may do.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessRule {
    pub(crate) from: Vec<Peer>,
    pub(crate) to: Vec<Operation>,
}

/// A caller, by what its certificate proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A service of the mesh.
    Service(ServiceName),
    /// Every service of a namespace.
    Namespace(Arc<str>),
    /// One SPIFFE id.
    Identity(SpiffeId),
}

/// Requests; every list that is not empty must have an entry that fits.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Operation {
    pub(crate) methods: Vec<Method>,
    pub(crate) paths: Vec<PathPattern>,
    pub(crate) grpc: Vec<GrpcPattern>,
}

/// A path of an access rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// The whole path.
    Exact(Arc<str>),
    /// Whole segments from the start, without the `/` at the end: `/a/*` is `/a`.
    Prefix(Arc<str>),
}

/// A gRPC method of an access rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcPattern {
    pub(crate) service: Arc<str>,
    pub(crate) method: Option<Arc<str>>,
}

// === impl AccessModel ===

impl AccessModel {
    /// Rules that were not read from a policy.
    pub fn new(mode: AccessMode, rules: Vec<AccessRule>) -> Self {
        Self {
            mode,
            rules,
            origin: None,
        }
    }

    /// What happens to a call that no rule allows.
    pub fn mode(&self) -> AccessMode {
        self.mode
    }

    /// The rules; any of them allows.
    pub fn rules(&self) -> &[AccessRule] {
        &self.rules
    }

    /// The policy that the rules come from.
    pub fn origin(&self) -> Option<&ResourceId> {
        self.origin.as_ref()
    }
}

// === impl AccessRule ===

impl AccessRule {
    /// `from` may do `to`; everything, if `to` is empty. Nobody, if `from` is empty.
    pub fn new(from: Vec<Peer>, to: Vec<Operation>) -> Self {
        Self { from, to }
    }

    /// The callers; empty is nobody.
    pub fn from(&self) -> &[Peer] {
        &self.from
    }

    /// What they may do; empty is everything.
    pub fn to(&self) -> &[Operation] {
        &self.to
    }
}

// === impl Peer ===

impl Peer {
    /// Whether `id` is this caller.
    pub fn is_match(&self, id: &SpiffeId) -> bool {
        match self {
            Self::Service(name) => id.service_parts() == Some((name.namespace(), name.name())),
            Self::Namespace(namespace) => {
                id.service_parts().is_some_and(|(n, _)| n == &**namespace)
            }
            Self::Identity(expected) => expected == id,
        }
    }
}

// === impl Operation ===

impl Operation {
    /// Requests with one of `methods`, one of `paths` and one of `grpc`, as far as these are not
    /// empty.
    pub fn new(methods: Vec<Method>, paths: Vec<PathPattern>, grpc: Vec<GrpcPattern>) -> Self {
        Self {
            methods,
            paths,
            grpc,
        }
    }

    /// HTTP methods.
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// Paths.
    pub fn paths(&self) -> &[PathPattern] {
        &self.paths
    }

    /// gRPC methods.
    pub fn grpc(&self) -> &[GrpcPattern] {
        &self.grpc
    }
}

// === impl PathPattern ===

impl PathPattern {
    /// Reads `/a/b` (exact) or `/a/*` (whole segments from the start).
    pub fn new(text: &str) -> Self {
        match text.strip_suffix("/*") {
            Some(prefix) => Self::Prefix(prefix.into()),
            None => Self::Exact(text.into()),
        }
    }

    /// Whether `path` (without the query) is meant.
    pub fn is_match(&self, path: &str) -> bool {
        match self {
            Self::Exact(text) => **text == *path,
            Self::Prefix(text) => path
                .strip_prefix(&**text)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        }
    }
}

// === impl GrpcPattern ===

impl GrpcPattern {
    /// Reads `package.Service`, `package.Service/*` or `package.Service/Method`.
    pub fn new(text: &str) -> Self {
        let (service, method) = match text.split_once('/') {
            None | Some((_, "*")) => (text.trim_end_matches("/*"), None),
            Some((service, method)) => (service, Some(method)),
        };
        Self {
            service: service.into(),
            method: method.map(Into::into),
        }
    }

    /// Full name of the service.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The method; `None` is every one.
    pub fn method(&self) -> Option<&str> {
        self.method.as_deref()
    }

    /// Whether the gRPC path `/package.Service/Method` is meant.
    pub fn is_match(&self, path: &str) -> bool {
        let Some((service, method)) = path.strip_prefix('/').and_then(|p| p.split_once('/')) else {
            return false;
        };
        service == &*self.service && self.method.as_deref().is_none_or(|m| m == method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_end_at_a_segment() {
        let all = PathPattern::new("/a/*");
        assert!(all.is_match("/a") && all.is_match("/a/b") && !all.is_match("/ab"));
        assert!(PathPattern::new("/*").is_match("/anything"));
        assert!(!PathPattern::new("/a").is_match("/a/b"));

        let method = GrpcPattern::new("shop.Reviews/Get");
        assert!(method.is_match("/shop.Reviews/Get") && !method.is_match("/shop.Reviews/List"));
        for service in ["shop.Reviews", "shop.Reviews/*"] {
            assert!(GrpcPattern::new(service).is_match("/shop.Reviews/List"));
            assert!(!GrpcPattern::new(service).is_match("/shop.Ratings/List"));
        }
    }
}
