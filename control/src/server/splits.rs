//! What the backends of weighted splits received: the policy's side and the callees' side together.

use std::collections::BTreeMap;

use mesh_core::context::Stamp;
use mesh_core::policy::Snapshot;
use mesh_core::policy::model::{Backend, Discovery, Service};

use super::state::service_of_id;
use crate::findings::{Share, Split};
use crate::report::RoutedSum;

/// Labels of a process, by service and name.
pub(super) type Labels = BTreeMap<(String, String), BTreeMap<String, String>>;

/// Every split with at least two backends and calls at one of them.
pub(super) fn splits(snapshot: &Snapshot, labels: &Labels, received: &[RoutedSum]) -> Vec<Split> {
    let mut out = Vec::new();
    for service in snapshot.outbound().services() {
        for (_, route) in service.all_routes() {
            let targets = route.split().targets();
            if targets.len() < 2 {
                continue;
            }
            let shares = targets.iter().filter_map(|target| {
                let backend = snapshot.outbound().backend(target.backend())?;
                let mut share = of_backend(service, backend, labels, received);
                share.weight = target.weight();
                Some(share)
            });
            out.push(Split {
                service: service.name().to_string(),
                route: route.name().to_string(),
                targets: shares.collect(),
            });
        }
    }
    out
}

fn of_backend(service: &Service, backend: &Backend, labels: &Labels, all: &[RoutedSum]) -> Share {
    // The processes of a subset report under the service that it is a part of.
    let base = match backend.discovery() {
        Discovery::Registered(base) => base.to_string(),
        _ => backend.service().to_string(),
    };
    let name = service.name().to_string();
    let none = BTreeMap::new();
    let mut past: BTreeMap<String, u64> = BTreeMap::new();
    let mut routed = 0;
    for sum in all.iter().filter(|sum| sum.service == base) {
        let key = (sum.service.clone(), sum.instance.clone());
        if !backend.selects(labels.get(&key).unwrap_or(&none)) {
            continue;
        }
        match Stamp::parse(&sum.stamp) {
            Some(stamp) if stamp.service == name => routed += sum.calls,
            stamp => {
                let from = service_of_id(&sum.from)
                    .map_or_else(|| sum.from.clone(), |service| service.to_string());
                let from = match stamp {
                    Some(stamp) => format!("{from} as {}", stamp.service),
                    None => from,
                };
                *past.entry(from).or_default() += sum.calls;
            }
        }
    }
    Share {
        backend: backend.service().to_string(),
        weight: 0,
        routed,
        past: past.into_iter().collect(),
    }
}
