use crate::context::{Arrival, Criticality};
use crate::identity::access::{is_caller, operates};
use crate::metadata;
use crate::policy::CriticalityPolicy;

/// How much a call matters that arrives: by the first rule that fits, else by its header if the
/// caller may say so, else by the default.
///
/// A caller may say so when it proved an identity of the mesh. Anyone else could call itself critical.
pub fn level(policy: &CriticalityPolicy, call: &Arrival<'_>) -> Criticality {
    let ruled = policy.rules().iter().find(|rule| {
        let from = rule.from();
        let named = || {
            call.peer
                .is_some_and(|peer| from.iter().any(|from| is_caller(from, peer, call.domain)))
        };
        let matches = rule.matches();
        (from.is_empty() || named())
            && (matches.is_empty()
                || matches
                    .iter()
                    .any(|to| operates(to, call.method, call.path, call.grpc)))
    });
    if let Some(rule) = ruled {
        return rule.level();
    }
    let told = (policy.trust_mesh() && call.peer.is_some())
        .then(|| call.headers.get(metadata::CRITICALITY))
        .flatten();
    told.and_then(|value| value.to_str().ok()?.parse().ok())
        .unwrap_or(policy.default_level())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SpiffeId;
    use crate::policy::CriticalityRule;
    use crate::policy::model::{Operation, PathPattern, Peer};
    use http::{HeaderMap, HeaderValue, Method};

    fn of(
        policy: &CriticalityPolicy,
        peer: Option<&str>,
        path: &str,
        says: &'static str,
    ) -> Criticality {
        let peer = peer.map(|name| {
            SpiffeId::parse(&format!("spiffe://mesh.local/ns/shop/sa/{name}")).unwrap()
        });
        let mut headers = HeaderMap::new();
        if !says.is_empty() {
            headers.insert(metadata::CRITICALITY, HeaderValue::from_static(says));
        }
        let call = Arrival {
            peer: peer.as_ref(),
            domain: Some("mesh.local"),
            method: &Method::GET,
            path,
            grpc: false,
            headers: &headers,
        };
        level(policy, &call)
    }

    #[test]
    fn only_a_caller_with_an_identity_is_believed() {
        let policy = CriticalityPolicy::default();
        assert_eq!(
            of(&policy, Some("web"), "/", "sheddable"),
            Criticality::Sheddable
        );
        assert_eq!(
            of(&policy, Some("web"), "/", "nonsense"),
            Criticality::Critical
        );
        assert_eq!(of(&policy, Some("web"), "/", ""), Criticality::Critical);
        assert_eq!(
            of(&policy, None, "/", "critical-plus"),
            Criticality::Critical
        );
        let nobody = policy.with_trust_mesh(false);
        assert_eq!(
            of(&nobody, Some("web"), "/", "critical-plus"),
            Criticality::Critical
        );
    }

    #[test]
    fn the_first_rule_that_fits_is_above_the_header() {
        let batch = Peer::Service("shop/batch".parse().unwrap());
        let export = Operation::new(vec![], vec![PathPattern::new("/export/*")], vec![]);
        let policy = CriticalityPolicy::default()
            .with_default_level(Criticality::SheddablePlus)
            .with_rules([
                CriticalityRule::new([batch], [], Criticality::Sheddable),
                CriticalityRule::new([], [export], Criticality::CriticalPlus),
            ]);
        let says = "critical-plus";
        assert_eq!(
            of(&policy, Some("batch"), "/export/x", says),
            Criticality::Sheddable
        );
        assert_eq!(
            of(&policy, None, "/export/x", ""),
            Criticality::CriticalPlus
        );
        assert_eq!(
            of(&policy, Some("web"), "/", says),
            Criticality::CriticalPlus
        );
        assert_eq!(
            of(&policy, Some("web"), "/", ""),
            Criticality::SheddablePlus
        );
    }
}
