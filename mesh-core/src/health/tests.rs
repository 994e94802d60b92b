use std::time::Duration;

use super::grpc::{self, Serving};
use super::{Change, HealthState, Verdict};
use crate::policy::model::HealthTiming;

fn timing() -> HealthTiming {
    HealthTiming::default()
        .with_unhealthy_after(3)
        .with_healthy_after(2)
}

fn after(verdicts: &[Verdict]) -> (HealthState, Vec<Option<Change>>) {
    let state = HealthState::default();
    let changes = verdicts
        .iter()
        .map(|verdict| state.record(*verdict, &timing()))
        .collect();
    (state, changes)
}

#[test]
fn one_that_was_not_asked_is_in_rotation_and_its_first_answer_counts_alone() {
    let (state, _) = after(&[]);
    assert!(state.is_healthy() && !state.is_known());
    let (state, changes) = after(&[Verdict::Passed]);
    assert!(state.is_healthy() && state.is_known());
    assert_eq!(changes, [None]);
    let (state, changes) = after(&[Verdict::Failed]);
    assert!(!state.is_healthy());
    assert_eq!(changes, [Some(Change::Unhealthy)]);
}

#[test]
fn envoy_thresholds_count_answers_in_a_row() {
    use Verdict::{Failed, Passed};
    let (_, changes) = after(&[Passed, Failed, Failed, Passed, Failed, Failed, Failed]);
    let last = changes.len() - 1;
    assert!(changes[..last].iter().all(Option::is_none), "{changes:?}");
    assert_eq!(changes[last], Some(Change::Unhealthy));
    let (state, changes) = after(&[Failed, Passed, Failed, Passed, Passed]);
    assert_eq!(changes[4], Some(Change::Healthy));
    assert!(changes[1..4].iter().all(Option::is_none));
    assert!(state.is_healthy());
}

#[test]
fn a17_an_announcement_is_believed_at_once_and_a_broken_stream_is_not() {
    use Verdict::{Failed, NotServing, Serving};
    let (_, changes) = after(&[Serving, Failed, NotServing, Serving]);
    assert_eq!(
        changes,
        [None, None, Some(Change::Unhealthy), Some(Change::Healthy)]
    );
}

#[test]
fn without_checks_what_they_found_is_forgotten() {
    let (state, _) = after(&[Verdict::NotServing]);
    state.forget();
    assert!(state.is_healthy() && !state.is_known());
}

#[test]
fn the_messages_are_those_of_grpc_health_v1() {
    assert_eq!(grpc::request(""), [0, 0, 0, 0, 0]);
    assert_eq!(grpc::request("a.B"), *b"\0\0\0\0\x05\x0a\x03a.B");
    let long = "x".repeat(200);
    assert_eq!(grpc::request(&long)[5..8], [0x0a, 0xc8, 0x01]);

    let mut buffer = vec![
        0, 0, 0, 0, 2, 8, 1, 0, 0, 0, 0, 2, 8, 2, 0, 0, 0, 0, 0, 0, 0,
    ];
    assert_eq!(grpc::take(&mut buffer), Ok(Some(Serving::Yes)));
    assert_eq!(grpc::take(&mut buffer), Ok(Some(Serving::No)));
    // Absent is UNKNOWN.
    assert_eq!(grpc::take(&mut buffer), Ok(Some(Serving::No)));
    assert_eq!(grpc::take(&mut buffer), Ok(None));
    assert_eq!(buffer, [0, 0]);
}

#[test]
fn a_message_in_pieces_with_fields_of_a_later_time_is_read() {
    // Field 2 as a string, field 3 fixed64, field 1 = SERVING.
    let whole = [
        0, 0, 0, 0, 15, 0x12, 2, b'h', b'i', 0x19, 1, 2, 3, 4, 5, 6, 7, 8, 8, 1,
    ];
    let mut buffer = Vec::new();
    for (at, byte) in whole.into_iter().enumerate() {
        assert_eq!(grpc::take(&mut buffer), Ok(None), "{at}");
        buffer.push(byte);
    }
    assert_eq!(grpc::take(&mut buffer), Ok(Some(Serving::Yes)));
}

#[test]
fn what_is_no_health_message_is_said_and_bounded() {
    for bytes in [
        &[1, 0, 0, 0, 0][..],
        &[0, 0, 1, 0, 0],
        &[0, 0, 0, 0, 1, 8],
        &[0, 0, 0, 0, 2, 0x0a, 9],
        &[0, 0, 0, 0, 1, 0x0f],
        &[
            0, 0, 0, 0, 11, 8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        ],
    ] {
        assert!(grpc::take(&mut bytes.to_vec()).is_err(), "{bytes:?}");
    }
}

#[test]
fn grpc_backoff_of_a_broken_stream_starts_at_1_s_and_ends_at_120_s() {
    assert_eq!(grpc::pause(0), Duration::from_secs(1));
    assert_eq!(grpc::pause(1), Duration::from_millis(1600));
    assert_eq!(grpc::pause(2), Duration::from_millis(2560));
    assert_eq!(grpc::pause(1000), Duration::from_secs(120));
}

#[test]
fn a_response_is_read_as_it_was_written() {
    for serving in [grpc::Serving::Yes, grpc::Serving::No] {
        let mut buffer = grpc::response(serving).to_vec();
        assert_eq!(grpc::take(&mut buffer), Ok(Some(serving)));
        assert!(buffer.is_empty());
    }
}
