//! Whether a call is allowed.
//!
//! Rules only allow: what no rule allows is denied under `Enforce`, and passes with a note under
//! `Audit`. An empty `from` allows nobody; a missing one cannot be expressed in the model. Health
//! probes always pass: a platform that cannot reach them would restart the instance.

use http::Method;

use super::SpiffeId;
use crate::policy::model::{AccessMode, AccessModel, AccessRule, Operation, Peer};

/// What was decided about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// It may pass.
    Allowed(Allowed),
    /// It is refused.
    Denied(Denied),
    /// It passes because the policy is in `Audit` mode, and is counted and logged.
    AuditDenied(Denied),
}

/// Why a call may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Allowed {
    /// No policy applies to the service.
    Open,
    /// It is a health probe.
    Health,
    /// Rule with this position allows it.
    Rule(usize),
}

/// Why no rule allows a call. Only for the server's own log: a peer learns "denied" and the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denied {
    /// The caller proved no identity.
    NoIdentity,
    /// No rule names the caller.
    Caller,
    /// Rule with this position names the caller (the first one that does), but none allows the
    /// operation.
    Operation(usize),
}

/// Decides about a call by `peer`. `grpc` says whether the request is gRPC. Services and namespaces
/// are compared whatever the trust domain: where more than one is trusted, use [`decide_within`].
pub fn decide(
    model: &AccessModel,
    peer: Option<&SpiffeId>,
    method: &Method,
    path: &str,
    grpc: bool,
) -> Decision {
    decide_in(model, None, peer, method, path, grpc)
}

/// As [`decide`], and a rule that names a service or a namespace means those of `trust_domain` only.
pub fn decide_within(
    model: &AccessModel,
    trust_domain: &str,
    peer: Option<&SpiffeId>,
    method: &Method,
    path: &str,
    grpc: bool,
) -> Decision {
    decide_in(model, Some(trust_domain), peer, method, path, grpc)
}

/// Decides about a connection of bytes. Rules that limit methods, paths or gRPC methods never allow
/// one: there is nothing to compare them with.
pub fn decide_bytes(
    model: &AccessModel,
    trust_domain: Option<&str>,
    peer: Option<&SpiffeId>,
) -> Decision {
    if model.mode() == AccessMode::Open {
        return Decision::Allowed(Allowed::Open);
    }
    let mut why = Denied::NoIdentity;
    if let Some(peer) = peer {
        why = Denied::Caller;
        for (at, rule) in model.rules().iter().enumerate() {
            if !rule
                .from()
                .iter()
                .any(|from| is_caller(from, peer, trust_domain))
            {
                continue;
            }
            if rule.to().is_empty() || rule.to().contains(&Operation::default()) {
                return Decision::Allowed(Allowed::Rule(at));
            }
            if why == Denied::Caller {
                why = Denied::Operation(at);
            }
        }
    }
    match model.mode() {
        AccessMode::Audit => Decision::AuditDenied(why),
        _ => Decision::Denied(why),
    }
}

/// Paths of health probes. HTTP probes are `GET` or `HEAD`; the last two are gRPC's health service.
pub const HEALTH_PATHS: [&str; 5] = [
    "/healthz",
    "/livez",
    "/readyz",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
];

fn is_health(method: &Method, path: &str, grpc: bool) -> bool {
    let http = *method == Method::GET || *method == Method::HEAD;
    HEALTH_PATHS.contains(&path)
        && match path.starts_with("/grpc.") {
            true => grpc,
            false => http,
        }
}

fn decide_in(
    model: &AccessModel,
    domain: Option<&str>,
    peer: Option<&SpiffeId>,
    method: &Method,
    path: &str,
    grpc: bool,
) -> Decision {
    if model.mode() == AccessMode::Open {
        return Decision::Allowed(Allowed::Open);
    }
    if is_health(method, path, grpc) {
        return Decision::Allowed(Allowed::Health);
    }
    let allows = |rule: &AccessRule| {
        rule.to().is_empty() || rule.to().iter().any(|to| operates(to, method, path, grpc))
    };
    let mut why = Denied::NoIdentity;
    if let Some(peer) = peer {
        why = Denied::Caller;
        for (at, rule) in model.rules().iter().enumerate() {
            if !rule.from().iter().any(|from| is_caller(from, peer, domain)) {
                continue;
            }
            if allows(rule) {
                return Decision::Allowed(Allowed::Rule(at));
            }
            if why == Denied::Caller {
                why = Denied::Operation(at);
            }
        }
    }
    match model.mode() {
        AccessMode::Audit => Decision::AuditDenied(why),
        _ => Decision::Denied(why),
    }
}

/// Whether a rule's `from` names the peer.
pub(crate) fn is_caller(from: &Peer, peer: &SpiffeId, domain: Option<&str>) -> bool {
    if let Peer::Identity(expected) = from {
        return expected == peer;
    }
    let ours = domain.is_none_or(|domain| domain == peer.trust_domain());
    ours && peer
        .service_parts()
        .is_some_and(|(namespace, name)| match from {
            Peer::Service(service) => service.namespace() == namespace && service.name() == name,
            Peer::Namespace(expected) => **expected == *namespace,
            Peer::Identity(_) => false,
        })
}

/// Every list that is not empty must have an entry that fits.
pub(crate) fn operates(to: &Operation, method: &Method, path: &str, grpc: bool) -> bool {
    (to.methods().is_empty() || to.methods().contains(method))
        && (to.paths().is_empty() || to.paths().iter().any(|p| p.is_match(path)))
        && (to.grpc().is_empty() || (grpc && to.grpc().iter().any(|p| p.is_match(path))))
}

// === impl Decision ===

impl Decision {
    /// The call goes on.
    pub fn passes(self) -> bool {
        !matches!(self, Self::Denied(_))
    }
}

// === impl Denied ===

impl Denied {
    /// The word used in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NoIdentity => "no_identity",
            Self::Caller => "caller",
            Self::Operation(_) => "operation",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::model::{GrpcPattern, PathPattern};

    fn id(service: &str) -> SpiffeId {
        SpiffeId::parse(&format!("spiffe://mesh.local/ns/shop/sa/{service}")).unwrap()
    }

    fn web() -> Peer {
        Peer::Service("shop/web".parse().unwrap())
    }

    fn get(model: &AccessModel, peer: Option<&SpiffeId>, path: &str) -> Decision {
        decide(model, peer, &Method::GET, path, false)
    }

    fn rule(from: Vec<Peer>, to: Vec<Operation>) -> AccessModel {
        AccessModel::new(AccessMode::Enforce, vec![AccessRule::new(from, to)])
    }

    #[test]
    fn without_a_policy_everyone_may() {
        let decision = get(&AccessModel::default(), None, "/x");
        assert_eq!(decision, Decision::Allowed(Allowed::Open));
    }

    #[test]
    fn only_a_named_caller_may() {
        let model = rule(vec![web()], vec![]);
        assert_eq!(
            get(&model, Some(&id("web")), "/x"),
            Decision::Allowed(Allowed::Rule(0))
        );
        assert_eq!(
            get(&model, Some(&id("other")), "/x"),
            Decision::Denied(Denied::Caller)
        );
        assert_eq!(
            get(&model, None, "/x"),
            Decision::Denied(Denied::NoIdentity)
        );
        let namespace = rule(vec![Peer::Namespace("shop".into())], vec![]);
        assert!(get(&namespace, Some(&id("other")), "/x").passes());
        let exact = rule(vec![Peer::Identity(id("web"))], vec![]);
        assert!(get(&exact, Some(&id("web")), "/x").passes());
        assert!(!get(&exact, Some(&id("other")), "/x").passes());
    }

    #[test]
    fn an_empty_from_allows_nobody() {
        let model = rule(vec![], vec![]);
        assert_eq!(
            get(&model, Some(&id("web")), "/x"),
            Decision::Denied(Denied::Caller)
        );
        let none = AccessModel::new(AccessMode::Enforce, vec![]);
        assert!(!get(&none, Some(&id("web")), "/x").passes());
    }

    #[test]
    fn audit_lets_pass_and_says_what_it_would_refuse() {
        let model = AccessModel::new(AccessMode::Audit, vec![]);
        let decision = get(&model, Some(&id("web")), "/x");
        assert_eq!(decision, Decision::AuditDenied(Denied::Caller));
        assert!(decision.passes());
    }

    #[test]
    fn health_probes_always_pass() {
        let model = rule(vec![], vec![]);
        for path in ["/healthz", "/readyz", "/livez"] {
            assert!(get(&model, None, path).passes(), "{path}");
            assert!(!decide(&model, None, &Method::POST, path, false).passes());
        }
        let grpc = "/grpc.health.v1.Health/Check";
        assert!(decide(&model, None, &Method::POST, grpc, true).passes());
        assert!(!decide(&model, None, &Method::POST, grpc, false).passes());
        assert!(!get(&model, None, "/healthz/x").passes());
    }

    #[test]
    fn an_operation_needs_all_that_it_names() {
        let to = Operation::new(vec![Method::GET], vec![PathPattern::new("/a/*")], vec![]);
        let model = rule(vec![web()], vec![to]);
        let web = id("web");
        assert!(get(&model, Some(&web), "/a/b").passes());
        assert_eq!(
            get(&model, Some(&web), "/b"),
            Decision::Denied(Denied::Operation(0))
        );
        assert!(!decide(&model, Some(&web), &Method::PUT, "/a/b", false).passes());
    }

    #[test]
    fn a_grpc_method_is_only_matched_by_grpc() {
        let to = Operation::new(vec![], vec![], vec![GrpcPattern::new("shop.Reviews/Get")]);
        let model = rule(vec![web()], vec![to]);
        let post =
            |path, grpc| decide(&model, Some(&id("web")), &Method::POST, path, grpc).passes();
        assert!(post("/shop.Reviews/Get", true));
        assert!(!post("/shop.Reviews/Get", false));
        assert!(!post("/shop.Reviews/List", true));
    }

    #[test]
    fn bytes_are_allowed_by_rules_about_callers_alone() {
        let get = Operation::new(vec![Method::GET], Vec::new(), Vec::new());
        let any = Operation::default();
        let bytes = |model: &AccessModel, peer: Option<&SpiffeId>| decide_bytes(model, None, peer);
        assert!(bytes(&AccessModel::default(), None).passes());
        let model = rule(vec![web()], Vec::new());
        assert_eq!(
            bytes(&model, Some(&id("web"))),
            Decision::Allowed(Allowed::Rule(0))
        );
        assert_eq!(
            bytes(&model, Some(&id("other"))),
            Decision::Denied(Denied::Caller)
        );
        assert_eq!(bytes(&model, None), Decision::Denied(Denied::NoIdentity));
        assert_eq!(
            decide_bytes(&model, Some("elsewhere"), Some(&id("web"))),
            Decision::Denied(Denied::Caller)
        );
        let model = rule(vec![web()], vec![get.clone()]);
        assert_eq!(
            bytes(&model, Some(&id("web"))),
            Decision::Denied(Denied::Operation(0))
        );
        assert!(bytes(&rule(vec![web()], vec![get, any]), Some(&id("web"))).passes());
    }

    #[test]
    fn a_service_of_another_trust_domain_is_another_service() {
        let model = rule(vec![web()], vec![]);
        let theirs = SpiffeId::parse("spiffe://other.example/ns/shop/sa/web").unwrap();
        let within = |peer: SpiffeId| {
            decide_within(&model, "mesh.local", Some(&peer), &Method::GET, "/x", false).passes()
        };
        assert!(within(id("web")) && !within(theirs));
    }
}
