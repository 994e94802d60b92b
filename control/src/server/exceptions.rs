//! Exceptions from mutual TLS: the policy's side and the callees' side together.

use std::collections::BTreeSet;

use mesh_core::name::ServiceName;
use mesh_core::policy::Snapshot;
use mesh_core::policy::model::{Exception, MtlsMode, TransportModel};

use crate::events::unix_seconds;
use crate::findings::Excepted;
use crate::report::StrangerSum;

/// Every exception of a policy once, with the addresses that call by it.
pub(super) fn exceptions(snapshot: &Snapshot, strangers: &[StrangerSum]) -> Vec<Excepted> {
    let mut out: Vec<Excepted> = Vec::new();
    for model in snapshot.inbound().transports() {
        for exception in model.exceptions() {
            let excepted = plain(model, exception);
            if !out.contains(&excepted) {
                out.push(excepted);
            }
        }
    }
    let mut users = vec![Vec::new(); out.len()];
    for stranger in strangers {
        let Ok(service) = stranger.service.parse::<ServiceName>() else {
            continue;
        };
        let model = snapshot.inbound().transport_for(&service);
        for exception in model.exceptions() {
            let inside =
                |network: mesh_core::policy::model::Network| network.contains(stranger.source);
            if !exception.source().is_none_or(inside) {
                continue;
            }
            let excepted = plain(&model, exception);
            let at = out.iter().position(|known| *known == excepted);
            if let Some(users) = at.and_then(|at| users.get_mut(at)) {
                users.push(stranger.source);
            }
        }
    }
    for (excepted, mut users) in out.iter_mut().zip(users) {
        users.sort_unstable();
        users.dedup();
        excepted.users = users;
    }
    out
}

/// Which of the services with such callers demand an identity.
pub(super) fn strict(snapshot: &Snapshot, strangers: &[StrangerSum]) -> BTreeSet<String> {
    let demands = |service: &&String| {
        let name = service.parse::<ServiceName>();
        name.is_ok_and(|name| {
            snapshot.inbound().transport_for(&name).mtls(None) == MtlsMode::Strict
        })
    };
    let services = strangers.iter().map(|stranger| &stranger.service);
    services.filter(demands).cloned().collect()
}

fn plain(model: &TransportModel, exception: &Exception) -> Excepted {
    let policy = model.origin("exceptions");
    Excepted {
        policy: policy.map_or_else(|| "TransportPolicy".to_owned(), ToString::to_string),
        source: exception.source().map(|network| network.to_string()),
        port: exception.port(),
        reason: exception.reason().map(str::to_owned),
        expires: unix_seconds(exception.expires()),
        users: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use mesh_core::policy::{Options, Source, check};

    use super::*;

    #[test]
    fn an_exception_is_listed_once_with_those_who_use_it() {
        let text = "service: shop/reviews\n---\nservice: shop/web\n---\n\
            apiVersion: policy.mesh/v1alpha1\nkind: TransportPolicy\n\
            metadata: { name: all, namespace: shop }\n\
            spec:\n  targetRefs: [{ kind: Mesh }]\n  mtls: Strict\n  \
            exceptions: [{ source: 10.1.0.0/16, port: 80, expires: 2027-03-31, reason: nightly }]\n";
        let checked = check(&[Source::new("a.yaml", text)], &Options::whole());
        let snapshot = checked
            .snapshot
            .unwrap_or_else(|| panic!("{}", checked.rendered));
        let stranger = |service: &str, source: [u8; 4]| StrangerSum {
            service: service.to_owned(),
            source: source.into(),
            connections: 1,
            calls: 1,
            first: 9,
            last: 1,
        };
        let strangers = [
            stranger("shop/web", [10, 1, 0, 9]),
            stranger("shop/reviews", [10, 1, 0, 9]),
            stranger("shop/reviews", [10, 2, 0, 9]),
        ];
        let found = exceptions(&snapshot, &strangers);
        let [one] = found.as_slice() else {
            panic!("{found:?}")
        };
        assert_eq!(one.policy, "TransportPolicy shop/all");
        assert_eq!(one.source.as_deref(), Some("10.1.0.0/16"));
        assert_eq!(one.port, Some(80));
        assert_eq!(one.expires, 1_806_537_600, "the end of that day");
        assert_eq!(one.users, [std::net::IpAddr::from([10, 1, 0, 9])]);
    }
}
