//! Metrics that are states: computed when somebody looks, so that no call pays for them.

use std::time::SystemTime;

use mesh_core::policy::Layer;
use mesh_core::telemetry::names;

use super::handle::Inner;
use crate::telemetry::Recorder;

/// Sets them all.
pub(super) fn refresh(mesh: &Inner) {
    let recorder = &mesh.recorder;
    if !recorder.is_enabled() {
        return;
    }
    mesh.views.refresh_gauges();
    // Both have the service's name: where it serves peers, these are what the gauge is about.
    let inbound = match mesh.inbound.is_used() {
        true => &mesh.inbound,
        false => &mesh.ingress,
    };
    inbound.refresh_gauges(&mesh.service, recorder);
    policy(mesh, recorder);
    if mesh.settings.expect_feed || mesh.shared.is_fed() {
        let connected = u8::from(mesh.shared.is_connected());
        let gauge = recorder.gauge(names::CONTROL_CONNECTED, &[]);
        gauge.set(f64::from(connected));
    }
    let phase = mesh.drain.phase() as u8;
    recorder
        .gauge(names::DRAIN_STATE, &[])
        .set(f64::from(phase));
    if let Some(identity) = mesh.credentials.identity()
        && let Ok(at) = identity.not_after().duration_since(SystemTime::UNIX_EPOCH)
    {
        let gauge = recorder.gauge(names::CERTIFICATE_EXPIRY, &[]);
        gauge.set(at.as_secs_f64());
    }
}

fn policy(mesh: &Inner, recorder: &Recorder) {
    for layer in Layer::ALL {
        let label = (names::LAYER, layer.label());
        if let Some(revision) = mesh.store.layer_revision(layer) {
            let gauge = recorder.gauge(names::POLICY_REVISION, &[label]);
            gauge.set(number(&revision));
        }
        let Some(updates) = mesh.store.updates(layer) else {
            continue;
        };
        for (result, count) in [("applied", updates.applied), ("refused", updates.refused)] {
            let labels = [label, (names::RESULT, result)];
            recorder
                .counter(names::POLICY_UPDATES, &labels)
                .absolute(count);
        }
    }
}

/// As much of a hash as a gauge holds exactly: 52 bits.
fn number(revision: &str) -> f64 {
    let digits = revision.get(..13).unwrap_or(revision);
    u64::from_str_radix(digits, 16).map_or(0.0, |number| number as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_a_number_that_a_gauge_holds_exactly() {
        assert_eq!(number("fffffffffffff123"), 4_503_599_627_370_495.0);
        assert_eq!(number("1f"), 31.0);
        assert_eq!(number("not a hash at all"), 0.0);
    }
}
