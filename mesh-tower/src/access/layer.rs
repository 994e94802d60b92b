use std::sync::Arc;

use mesh_core::{
    identity::{
        SpiffeId,
        access::{Decision, decide, decide_bytes, decide_within},
    },
    live::Live,
    name::ServiceName,
    policy::model::{AccessMode, AccessModel, Snapshot},
};
use tower_layer::Layer;

use super::Access;
use crate::{telemetry::Counter, tls::Credentials, traffic::Home};

/// Refuses requests that the access policy does not allow.
#[derive(Clone, Debug)]
pub struct AccessLayer {
    rules: Rules,
    denied: Counter,
}

/// The rules in force for one service. Each clone follows the policy by itself.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    source: Source,
    model: Arc<AccessModel>,
    home: Home,
}

#[derive(Clone, Debug)]
enum Source {
    Fixed,
    Policy {
        policy: Live<Snapshot>,
        service: ServiceName,
        /// The snapshot that `model` is from.
        seen: Arc<Snapshot>,
    },
}

// === impl AccessLayer ===

impl AccessLayer {
    /// Rules that do not change, for a layer that is used alone.
    pub fn fixed(model: AccessModel) -> Self {
        Self {
            rules: Rules::fixed(model),
            denied: Counter::noop(),
        }
    }

    /// Nobody is asked who it is.
    pub(crate) fn open() -> Self {
        Self {
            rules: Rules::open(),
            denied: Counter::noop(),
        }
    }

    /// The rules for `service` in a live policy.
    pub fn live(policy: Live<Snapshot>, service: ServiceName) -> Self {
        Self {
            rules: Rules::live(policy, service),
            denied: Counter::noop(),
        }
    }

    /// Rules that name a service or a namespace mean those of our own trust domain only.
    #[must_use]
    pub fn within(mut self, credentials: &Credentials) -> Self {
        self.rules = self.rules.within(credentials);
        self
    }

    /// Counts denied requests, those that only an audit would have denied included.
    #[must_use]
    pub fn with_counter(mut self, denied: Counter) -> Self {
        self.denied = denied;
        self
    }
}

impl<S> Layer<S> for AccessLayer {
    type Service = Access<S>;

    fn layer(&self, inner: S) -> Access<S> {
        Access {
            inner,
            rules: self.rules.clone(),
            denied: self.denied.clone(),
        }
    }
}

// === impl Rules ===

impl Rules {
    fn fixed(model: AccessModel) -> Self {
        Self {
            source: Source::Fixed,
            model: Arc::new(model),
            home: Home::default(),
        }
    }

    /// Everybody may do everything.
    pub(crate) fn open() -> Self {
        Self::fixed(AccessModel::default())
    }

    pub(crate) fn live(mut policy: Live<Snapshot>, service: ServiceName) -> Self {
        let seen = policy.get().clone();
        let model = seen.inbound().access_for(&service);
        Self {
            source: Source::Policy {
                policy,
                service,
                seen,
            },
            model,
            home: Home::default(),
        }
    }

    /// Rules that name a service mean the one of our own trust domain only.
    pub(crate) fn within(mut self, credentials: &Credentials) -> Self {
        self.home = Home::of(credentials);
        self
    }

    /// The rules now: one atomic compare when nothing changed.
    pub(crate) fn now(&mut self) -> &AccessModel {
        if let Source::Policy {
            policy,
            service,
            seen,
        } = &mut self.source
        {
            let latest = policy.get();
            if !Arc::ptr_eq(latest, seen) {
                *seen = latest.clone();
                self.model = seen.inbound().access_for(service);
            }
        }
        &self.model
    }

    /// Whether the policy is the one that [`Rules::now`] saw last.
    pub(crate) fn is_unchanged(&mut self) -> bool {
        match &mut self.source {
            Source::Fixed => true,
            Source::Policy { policy, seen, .. } => Arc::ptr_eq(policy.get(), seen),
        }
    }

    /// Whether a denied request would be stopped at all.
    pub(crate) fn is_enforced(&mut self) -> bool {
        self.now().mode() == AccessMode::Enforce
    }

    /// Whether a peer is named by any rule, so that some request of it could be allowed.
    pub(crate) fn may_connect(&mut self, peer: Option<&SpiffeId>) -> bool {
        let model = self.now();
        if model.mode() != AccessMode::Enforce {
            return true;
        }
        peer.is_some_and(|peer| {
            model
                .rules()
                .iter()
                .any(|rule| rule.from().iter().any(|from| from.is_match(peer)))
        })
    }

    /// Whether a peer may bring bytes.
    pub(crate) fn decide_bytes(&mut self, peer: Option<&SpiffeId>) -> Decision {
        let domain = self.home.domain().cloned();
        decide_bytes(self.now(), domain.as_deref(), peer)
    }

    pub(crate) fn decide(
        &mut self,
        peer: Option<&SpiffeId>,
        method: &http::Method,
        path: &str,
        grpc: bool,
    ) -> Decision {
        let domain = if peer.is_some() {
            self.home.domain().cloned()
        } else {
            None
        };
        let model = self.now();
        // `/public/../private` is below `/public/*` for us and is not for an application that
        // resolves it. Nobody sends such a path by accident.
        let path = if model.mode() != AccessMode::Open && is_ambiguous(path) {
            NO_PATH
        } else {
            path
        };
        match domain {
            Some(domain) => decide_within(model, &domain, peer, method, path, grpc),
            None => decide(model, peer, method, path, grpc),
        }
    }
}

/// A path that only a rule without paths allows.
const NO_PATH: &str = "";

/// Whether a path means different things to different readers: dot segments, also percent-encoded,
/// encoded slashes and backslashes.
fn is_ambiguous(path: &str) -> bool {
    let lower = |at: usize| path.as_bytes().get(at).map(u8::to_ascii_lowercase);
    if path.contains('\\') {
        return true;
    }
    let mut has_encoded_dot = false;
    for (at, byte) in path.bytes().enumerate() {
        if byte != b'%' {
            continue;
        }
        match (lower(at + 1), lower(at + 2)) {
            (Some(b'2'), Some(b'f')) | (Some(b'5'), Some(b'c')) => return true,
            (Some(b'2'), Some(b'e')) => has_encoded_dot = true,
            _ => {}
        }
    }
    let is_dots = |segment: &str| {
        if has_encoded_dot && segment.contains('%') {
            let plain = segment.to_ascii_lowercase().replace("%2e", ".");
            return plain == "." || plain == "..";
        }
        segment == "." || segment == ".."
    };
    path.split('/').any(is_dots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_readers_disagree_on_are_found() {
        for bad in [
            "/a/../b",
            "/a/./b",
            "/..",
            "/a/%2e%2E/b",
            "/a/.%2e",
            "/a%2fb",
            "/a%5Cb",
            "/a\\b",
        ] {
            assert!(is_ambiguous(bad), "{bad}");
        }
        for good in [
            "/", "/a/b", "/a..b/c", "/a/...", "/%20", "/v1.2/x", "/a%2eb",
        ] {
            assert!(!is_ambiguous(good), "{good}");
        }
    }
}
