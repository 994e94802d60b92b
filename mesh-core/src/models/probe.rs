use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{SECOND, beside, every_order, join, orders};
use crate::balance::{Availability, EndpointInfo, EndpointSet, EndpointState};
use crate::ejection::Detector;
use crate::policy::EjectionPolicy;

fn endpoint() -> Arc<EndpointState> {
    let info = EndpointInfo::new(([10, 0, 0, 1], 80).into());
    Arc::clone(&EndpointSet::new([info]).endpoints()[0])
}

/// Two endpoints, the first ejected at `now`; a probe is due 7.5 s later.
fn ejected(now: Instant) -> EndpointSet {
    let infos = [1, 2].map(|n| EndpointInfo::new(([10, 0, 0, n], 80).into()));
    let set = EndpointSet::new(infos);
    let policy = EjectionPolicy::default().with_consecutive_errors(1);
    let event = Detector::with_seed(1).record(&policy, &set, 0, false, now);
    assert!(event.is_some());
    set
}

fn claims(now: Instant) -> impl FnOnce(&Arc<EndpointState>) -> usize + Copy {
    move |endpoint| {
        let due = endpoint.availability(now) == Availability::Due;
        usize::from(due && endpoint.claim(now))
    }
}

#[test]
fn of_an_ejected_endpoint_one_probe_is_made() {
    orders(3, "probe of an ejected endpoint", |now| {
        let endpoint = Arc::clone(&ejected(now).endpoints()[0]);
        let claims = claims(now + 8 * SECOND);
        let others = [beside(&endpoint, claims), beside(&endpoint, claims)];
        let made = claims(&endpoint) + others.into_iter().map(join).sum::<usize>();
        assert_eq!(made, 1);
    });
}

#[test]
fn of_an_unreachable_endpoint_one_try_is_made() {
    every_order("try of an unreachable endpoint", |now| {
        let endpoint = endpoint();
        endpoint.connect_failed(now);
        let claims = claims(now + SECOND);
        let others = [beside(&endpoint, claims), beside(&endpoint, claims)];
        let made = claims(&endpoint) + others.into_iter().map(join).sum::<usize>();
        assert_eq!(made, 1);
    });
}

#[test]
fn an_ejection_is_not_probed_before_its_time() {
    orders(3, "probe at once", |now| {
        let infos = [1, 2].map(|n| EndpointInfo::new(([10, 0, 0, n], 80).into()));
        let set = Arc::new(EndpointSet::new(infos));
        let other = beside(&set, move |set| {
            claims(now)(&set.endpoints()[0]) + claims(now)(&set.endpoints()[0])
        });
        let policy = EjectionPolicy::default().with_consecutive_errors(1);
        let event = Detector::with_seed(1).record(&policy, &set, 0, false, now);
        assert!(event.is_some());
        assert_eq!(join(other), 0);
    });
}

#[test]
fn who_sees_it_back_sees_it_warming_up() {
    every_order("restored", |now| {
        let endpoint = Arc::clone(&ejected(now).endpoints()[0]);
        let later = now + 8 * SECOND;
        let other = beside(&endpoint, move |endpoint| {
            if endpoint.availability(later) == Availability::Ready {
                let back = endpoint.ejection().restored_for(later);
                assert_eq!(
                    back,
                    Some(Duration::ZERO),
                    "in rotation with its full share"
                );
            }
        });
        assert!(endpoint.ejection().restore(later));
        join(other);
    });
}

#[test]
fn one_caller_brings_it_back() {
    orders(3, "restored once", |now| {
        let endpoint = Arc::clone(&ejected(now).endpoints()[0]);
        let restore = move |endpoint: &Arc<EndpointState>| {
            usize::from(endpoint.ejection().restore(now + 8 * SECOND))
        };
        let other = beside(&endpoint, restore);
        let told = restore(&endpoint) + join(other);
        assert_eq!(told, 1);
        assert!(endpoint.ejection().is_available());
    });
}
