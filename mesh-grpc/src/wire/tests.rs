//! The wire form is a field copy of the schema: spec -> proto -> bytes -> proto -> spec changes nothing.

use std::{collections::BTreeMap, time::Duration};

use mesh_core::policy::spec::{self, Interval, Kind, Ratio, Resource, StatusRange};
use proptest::prelude::*;
use prost::Message as _;

use super::{resource_from_proto, resource_to_proto};
use crate::pb::policy as pb;

/// A value at random with every field set now and then. Implemented for each struct by the same table that converts
/// it, so that no field can be forgotten here: a struct literal names them all.
pub(super) trait Sample {
    fn sample(rng: &mut fastrand::Rng) -> Self;
}

impl Sample for String {
    fn sample(rng: &mut fastrand::Rng) -> Self {
        ["", "a", "reviews", "/über/*", "x-user"][rng.usize(..5)].into()
    }
}
impl Sample for bool {
    fn sample(rng: &mut fastrand::Rng) -> Self {
        rng.bool()
    }
}
impl Sample for u16 {
    fn sample(rng: &mut fastrand::Rng) -> Self {
        rng.u16(..)
    }
}
impl Sample for u32 {
    fn sample(rng: &mut fastrand::Rng) -> Self {
        rng.u32(..)
    }
}
impl Sample for Interval {
    fn sample(rng: &mut fastrand::Rng) -> Self {
        Self::new(Duration::from_millis(rng.u64(..1 << 40)))
    }
}
impl Sample for Ratio {
    fn sample(rng: &mut fastrand::Rng) -> Self {
        Self::from_milli(rng.u32(..))
    }
}
impl Sample for StatusRange {
    fn sample(rng: &mut fastrand::Rng) -> Self {
        Self::new(rng.u16(..), rng.u16(..))
    }
}
impl<T: Sample> Sample for Option<T> {
    fn sample(rng: &mut fastrand::Rng) -> Self {
        rng.bool().then(|| T::sample(rng))
    }
}
impl<T: Sample> Sample for Vec<T> {
    fn sample(rng: &mut fastrand::Rng) -> Self {
        (0..rng.usize(..3)).map(|_| T::sample(rng)).collect()
    }
}
impl Sample for BTreeMap<String, String> {
    fn sample(rng: &mut fastrand::Rng) -> Self {
        (0..rng.usize(..3))
            .map(|_| (String::sample(rng), String::sample(rng)))
            .collect()
    }
}

fn sample(kind: Kind, rng: &mut fastrand::Rng) -> Resource {
    let metadata = Sample::sample(rng);
    match kind {
        Kind::Service => spec::Service::new(metadata, Sample::sample(rng)).into(),
        Kind::HttpRoute => spec::HttpRoute::new(metadata, Sample::sample(rng)).into(),
        Kind::GrpcRoute => spec::GrpcRoute::new(metadata, Sample::sample(rng)).into(),
        Kind::BackendPolicy => spec::BackendPolicy::new(metadata, Sample::sample(rng)).into(),
        Kind::AccessPolicy => spec::AccessPolicy::new(metadata, Sample::sample(rng)).into(),
        Kind::TransportPolicy => spec::TransportPolicy::new(metadata, Sample::sample(rng)).into(),
        Kind::TrafficPolicy => spec::TrafficPolicy::new(metadata, Sample::sample(rng)).into(),
        Kind::Fault => spec::Fault::new(metadata, Sample::sample(rng)).into(),
        Kind::DirectResponse => spec::DirectResponse::new(metadata, Sample::sample(rng)).into(),
        Kind::StickySplit => spec::StickySplit::new(metadata, Sample::sample(rng)).into(),
        Kind::TrailerEdit => spec::TrailerEdit::new(metadata, Sample::sample(rng)).into(),
    }
}

const KINDS: [Kind; 11] = [
    Kind::Service,
    Kind::HttpRoute,
    Kind::GrpcRoute,
    Kind::BackendPolicy,
    Kind::AccessPolicy,
    Kind::TransportPolicy,
    Kind::TrafficPolicy,
    Kind::Fault,
    Kind::DirectResponse,
    Kind::StickySplit,
    Kind::TrailerEdit,
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_resource_survives_the_wire(seed in any::<u64>()) {
        assert_eq!(KINDS.len(), Kind::CHOICES.len(), "every kind is tried");
        let mut rng = fastrand::Rng::with_seed(seed);
        for kind in KINDS {
            let resource = sample(kind, &mut rng);
            let bytes = resource_to_proto(&resource).encode_to_vec();
            let wire = pb::Resource::decode(bytes.as_slice()).expect("our own bytes");
            prop_assert_eq!(wire.encode_to_vec(), bytes, "equal resources are equal bytes");
            prop_assert_eq!(resource_from_proto(wire), Ok(resource));
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_read_but_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(wire) = pb::Resource::decode(bytes.as_slice()) {
            let _ = resource_from_proto(wire);
        }
    }
}

#[test]
fn an_error_names_the_field_in_the_words_of_the_policy_language() {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut route = spec::HttpRoute::new(Sample::sample(&mut rng), spec::HttpRouteSpec::default());
    route.metadata.namespace = "shop".into();
    route.metadata.name = "reviews".into();
    route.spec.rules = vec![spec::HttpRouteRule {
        matches: vec![spec::HttpRouteMatch {
            path: Some(spec::PathMatch {
                kind: Some(spec::PathMatchType::Exact),
                value: None,
            }),
            ..Default::default()
        }],
        ..Default::default()
    }];
    let mut wire = resource_to_proto(&route.into());
    let Some(pb::resource::Spec::HttpRoute(route)) = &mut wire.spec else {
        panic!("a route")
    };
    route.rules[0].matches[0].path.as_mut().unwrap().kind = Some("Exakt".into());
    assert_eq!(
        resource_from_proto(wire).unwrap_err().to_string(),
        "shop/reviews spec.rules[0].matches[0].path.type: `Exakt` is none of: Exact, PathPrefix, RegularExpression"
    );
}
