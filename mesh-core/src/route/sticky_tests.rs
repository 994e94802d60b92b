//! What a sticky split promises, over 10^5 keys.

use twox_hash::XxHash64;

use super::Split;
use crate::policy::model::{BackendIx, Target};

const KEYS: u64 = 100_000;

/// A split over named backends; the position of each is that of its name in the alphabet.
fn split(weights: &[(&str, u32)]) -> Split {
    let target = |(name, weight): &(&str, u32)| {
        let at = usize::from(name.as_bytes()[1]);
        Target::new(BackendIx(at as u32), *weight).named(name)
    };
    Split::new(weights.iter().map(target).collect::<Vec<_>>())
}

fn at(split: &Split, key: u64) -> usize {
    let key = XxHash64::oneshot(0, &key.to_le_bytes());
    split.pick_sticky(key).unwrap().backend().get()
}

fn share(split: &Split, name: &str) -> f64 {
    let place = usize::from(name.as_bytes()[1]);
    let count = (0..KEYS).filter(|key| at(split, *key) == place).count();
    count as f64 / KEYS as f64
}

/// Part of the keys that have another target in `after`, in percent.
fn moved(before: &Split, after: &Split) -> f64 {
    let count = (0..KEYS)
        .filter(|key| at(before, *key) != at(after, *key))
        .count();
    count as f64 * 100.0 / KEYS as f64
}

#[test]
fn keys_follow_the_weights() {
    let split = split(&[("v1", 70), ("v2", 20), ("v3", 10), ("v4", 0)]);
    for (name, expected) in [("v1", 0.7), ("v2", 0.2), ("v3", 0.1), ("v4", 0.0)] {
        let share = share(&split, name);
        println!("{name}: {share:.4} of {expected}");
        assert!((share - expected).abs() < 0.005, "{name} {share}");
    }
}

#[test]
fn raising_10_to_20_percent_moves_10_percent_of_the_keys_and_only_to_the_raised_one() {
    let before = split(&[("v1", 90), ("v2", 10)]);
    let after = split(&[("v1", 80), ("v2", 20)]);
    let moved = moved(&before, &after);
    println!("90/10 to 80/20: {moved:.2} % moved");
    assert!((moved - 10.0).abs() < 0.3, "{moved}");
    let back = (0..KEYS).filter(|key| at(&before, *key) == usize::from(b'2'));
    assert!(
        back.into_iter()
            .all(|key| at(&after, key) == usize::from(b'2'))
    );
}

#[test]
fn each_step_of_a_rollout_moves_its_own_part_only() {
    let steps = [1, 5, 10, 25, 50, 75, 100];
    for pair in steps.windows(2) {
        let [before, after] =
            [pair[0], pair[1]].map(|part| split(&[("v1", 100 - part), ("v2", part)]));
        let moved = moved(&before, &after);
        println!("{} to {} %: {moved:.2} % moved", pair[0], pair[1]);
        assert!(
            (moved - f64::from(pair[1] - pair[0])).abs() < 0.4,
            "{pair:?} {moved}"
        );
    }
}

#[test]
fn with_three_targets_a_change_moves_little_more_than_its_difference() {
    // P-MinHash's bound for these: 1 - sum over i of 1 / sum over j of max(a_j/a_i, b_j/b_i), which
    // no rule without memory beats. The raised one gains 10 points.
    let before = split(&[("v1", 80), ("v2", 10), ("v3", 10)]);
    for (after, bound) in [
        (split(&[("v1", 70), ("v2", 10), ("v3", 20)]), 10.95),
        (split(&[("v1", 70), ("v2", 20), ("v3", 10)]), 10.95),
    ] {
        let moved = moved(&before, &after);
        println!("three targets: {moved:.2} % moved of at most {bound}");
        assert!((10.0 - 0.3..bound + 0.3).contains(&moved), "{moved}");
    }
}

#[test]
fn order_and_scale_of_the_weights_do_not_matter() {
    let one = split(&[("v1", 9), ("v2", 1)]);
    let same = split(&[("v2", 100), ("v1", 900)]);
    assert_eq!(moved(&one, &same), 0.0);
}

#[test]
fn a_target_that_joins_or_leaves_moves_its_own_keys_only() {
    let two = split(&[("v1", 60), ("v2", 30)]);
    let three = split(&[("v1", 60), ("v2", 30), ("v3", 10)]);
    for key in 0..KEYS {
        let with = at(&three, key);
        assert!(with == usize::from(b'3') || with == at(&two, key));
    }
}

#[test]
fn a_key_has_the_same_target_in_every_process_and_version() {
    // Fixed values: a change of the hash would move the users of a rollout that is under way.
    let split = split(&[("v1", 50), ("v2", 50)]);
    let first: String = (0..32)
        .map(|key| char::from(at(&split, key) as u8))
        .collect();
    assert_eq!(first, "22222221122111211122212212112221");
}
