//! GCRA by hand, its bound as a property, and the rules of semantics 11.

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;

use super::*;
use crate::context::{Arrival, Criticality};
use crate::identity::SpiffeId;
use crate::policy::model::{Operation, PathPattern, Peer};
use crate::policy::{RateKey, RateLimit, RateOverride};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn second() -> Duration {
    Duration::from_secs(1)
}

#[test]
fn gcra_vectors_by_hand() {
    // 10 a second, 3 at once: one every 100 ms.
    let (rate, cell, start) = (Rate::new(10, second(), 3), Cell::default(), Instant::now());
    for (at, expected) in [
        (0, Ok(())),
        (0, Ok(())),
        (0, Ok(())),
        (0, Err(ms(100))),
        (40, Err(ms(60))),
        (99, Err(ms(1))),
        (100, Ok(())),
        (100, Err(ms(100))),
        (250, Ok(())),
        (250, Err(ms(50))),
        // Long enough idle, the whole burst is there again and not more.
        (2_000, Ok(())),
        (2_000, Ok(())),
        (2_000, Ok(())),
        (2_000, Err(ms(100))),
    ] {
        assert_eq!(cell.peek(rate, start + ms(at), 100), expected, "{at} ms");
        assert_eq!(cell.take(rate, start + ms(at), 100), expected, "{at} ms");
    }
}

#[test]
fn a_clock_that_stands_a_little_behind_is_no_error() {
    let (rate, cell, start) = (Rate::new(1, second(), 1), Cell::default(), Instant::now());
    assert!(cell.take(rate, start + second(), 100).is_ok());
    assert!(cell.take(rate, start, 100).is_err());
}

#[test]
fn a_changed_rate_keeps_what_was_spent_and_asks_for_no_more_than_a_burst() {
    let (cell, start) = (Cell::default(), Instant::now());
    let before = Rate::new(10, second(), 10);
    while cell.take(before, start, 100).is_ok() {}
    // Twice the rate: what was spent stays spent.
    assert!(cell.take(Rate::new(20, second(), 10), start, 100).is_err());
    // A short burst at a high rate: the debt is that burst and not a second.
    let wait = cell.peek(Rate::new(1000, second(), 5), start, 100);
    assert_eq!(wait, Err(ms(1)));
}

#[test]
fn the_lower_levels_leave_part_of_the_burst_to_the_others() {
    let (rate, cell, now) = (Rate::new(10, second(), 10), Cell::default(), Instant::now());
    let count = |level| {
        let percent = crate::overload::firm_share(level);
        std::iter::repeat_with(|| cell.take(rate, now, percent))
            .take_while(Result::is_ok)
            .count()
    };
    assert_eq!(count(Criticality::Sheddable), 6);
    assert_eq!(count(Criticality::SheddablePlus), 2);
    assert_eq!(count(Criticality::Critical), 2);
    assert_eq!(count(Criticality::CriticalPlus), 0);
}

/// Of the moments at which calls passed, any window holds at most `burst + t x rate`.
fn bound(passed: &[u64], rate: u64, burst: u64) -> Result<(), TestCaseError> {
    for (n, from) in passed.iter().enumerate() {
        for (m, to) in passed.iter().enumerate().skip(n) {
            let most = burst + (to - from) * rate / 1_000_000;
            let count = (m - n + 1) as u64;
            prop_assert!(count <= most, "{count} in {} us, {most} allowed", to - from);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_window_has_more_than_the_burst_and_the_rate(
        gaps in prop::collection::vec(0_u64..30_000, 1..300),
        rate in 1_u32..2_000,
        burst in 1_u32..20,
    ) {
        let (cell, keyed, start) = (Cell::default(), Keyed::with_capacity(1), Instant::now());
        let gcra = Rate::new(rate, second(), burst);
        let (mut at, mut passed, mut by_key) = (0, Vec::new(), Vec::new());
        for (n, gap) in gaps.into_iter().enumerate() {
            at += gap;
            let now = start + Duration::from_micros(at);
            if cell.take(gcra, now, 100).is_ok() {
                passed.push(at);
            }
            // A new key each time: all of one shard have to share its room.
            if keyed.take(n as u128, gcra, now, 100).is_ok() {
                by_key.push(at);
            }
        }
        bound(&passed, u64::from(rate), u64::from(burst))?;
        // One key has room and begins with a full bucket; the rest share one.
        bound(&by_key, 2 * u64::from(rate), 2 * u64::from(burst))?;
    }

    #[test]
    fn who_waits_as_told_is_let_in_and_not_a_moment_earlier(
        gaps in prop::collection::vec(0_u64..30_000, 1..100),
        rate in 1_u32..2_000,
        burst in 1_u32..20,
    ) {
        let (cell, start) = (Cell::default(), Instant::now());
        let gcra = Rate::new(rate, second(), burst);
        let mut now = start;
        for gap in gaps {
            now += Duration::from_micros(gap);
            if let Err(wait) = cell.take(gcra, now, 100) {
                prop_assert!(wait > Duration::ZERO);
                prop_assert!(cell.peek(gcra, now + wait - Duration::from_nanos(1), 100).is_err());
                prop_assert!(cell.peek(gcra, now + wait, 100).is_ok());
            }
        }
    }
}

#[test]
fn threads_together_stay_within_the_burst() {
    let (rate, cell, now) = (
        Rate::new(1, second(), 1_000),
        Cell::default(),
        Instant::now(),
    );
    let passed = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    if cell.take(rate, now, 100).is_ok() {
                        passed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(passed.into_inner(), 1_000);
}

#[test]
fn a_hostile_header_neither_grows_the_table_nor_gets_more() {
    let (keyed, now) = (Keyed::new(), Instant::now());
    let rate = Rate::new(1, second(), 1);
    let known = keyed.key("a customer");
    assert!(keyed.take(known, rate, now, 100).is_ok());
    let passed = (0..1_000_000_u32)
        .filter(|n| keyed.take(keyed.key(n), rate, now, 100).is_ok())
        .count();
    println!(
        "a million keys at once: {} remembered, {passed} calls passed",
        keyed.len()
    );
    assert!(keyed.len() <= 10_000);
    // One call for each remembered key, and one for each of the 16 shared buckets.
    assert!(passed <= 10_000 + 16, "{passed}");
    assert!(
        keyed.take(known, rate, now, 100).is_err(),
        "it is not forgotten"
    );
    // When they are idle again they make room.
    let later = now + second();
    assert!(keyed.take(keyed.key("new"), rate, later, 100).is_ok());
    assert!(keyed.take(known, rate, later, 100).is_ok());
    assert!(keyed.len() < 10_000);
}

fn peer(name: &str) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://mesh.local/ns/shop/sa/{name}")).unwrap()
}

struct Caller {
    peer: Option<SpiffeId>,
    path: &'static str,
    headers: HeaderMap,
}

fn caller(name: &str) -> Caller {
    Caller {
        peer: Some(peer(name)),
        path: "/",
        headers: HeaderMap::new(),
    }
}

fn ask(limits: &RateLimits, now: Instant, caller: &Caller) -> Result<(), Limited> {
    limits.check(
        now,
        &Arrival {
            peer: caller.peer.as_ref(),
            domain: Some("mesh.local"),
            method: &Method::GET,
            path: caller.path,
            grpc: false,
            headers: &caller.headers,
        },
        Criticality::Critical,
    )
}

fn passes(limits: &RateLimits, now: Instant, caller: &Caller) -> usize {
    std::iter::repeat_with(|| ask(limits, now, caller))
        .take(100)
        .take_while(Result::is_ok)
        .count()
}

#[test]
fn linkerd_total_first_then_per_identity() {
    let policies = [
        RateLimit::new("all", 5, second()),
        RateLimit::new("each", 3, second()).with_keys([RateKey::Identity]),
    ];
    let now = Instant::now();
    let limits = RateLimits::new(&policies, now);
    assert_eq!(passes(&limits, now, &caller("web")), 3);
    let limited = ask(&limits, now, &caller("web")).unwrap_err();
    assert_eq!(&*limited.limit, "each");
    // What was refused to web is not lost to the others.
    assert_eq!(passes(&limits, now, &caller("job")), 2);
    let limited = ask(&limits, now, &caller("job")).unwrap_err();
    assert_eq!(&*limited.limit, "all");
    assert_eq!(limited.retry_after, ms(200));
    // Too much for both: the first is named, the longer wait is told.
    let limited = ask(&limits, now, &caller("web")).unwrap_err();
    assert_eq!(&*limited.limit, "all");
    assert_eq!(limited.retry_after, Duration::from_nanos(333_333_334));
}

#[test]
fn linkerd_override_for_an_identity() {
    let each = RateLimit::new("each", 2, second()).with_keys([RateKey::Identity]);
    let job = Peer::Service("shop/job".parse().unwrap());
    let now = Instant::now();
    let limits = RateLimits::new(&[each.with_overrides([RateOverride::new([job], 7)])], now);
    assert_eq!(passes(&limits, now, &caller("web")), 2);
    assert_eq!(passes(&limits, now, &caller("job")), 7);
    let nobody = Caller {
        peer: None,
        ..caller("x")
    };
    assert_eq!(
        passes(&limits, now, &nobody),
        2,
        "those without an identity share one"
    );
    assert_eq!(passes(&limits, now, &nobody), 0);
}

#[test]
fn by_header_and_path() {
    let tenant = HeaderName::from_static("x-tenant");
    let each = RateLimit::new("each", 1, second())
        .with_keys([RateKey::Header(tenant.clone()), RateKey::Path]);
    let (limits, now) = (RateLimits::new(&[each], Instant::now()), Instant::now());
    let of = |value, path| Caller {
        peer: None,
        path,
        headers: HeaderMap::from_iter([(tenant.clone(), HeaderValue::from_static(value))]),
    };
    for (value, path) in [("a", "/1"), ("a", "/2"), ("b", "/1")] {
        assert_eq!(passes(&limits, now, &of(value, path)), 1, "{value} {path}");
    }
    assert_eq!(passes(&limits, now, &of("a", "/1")), 0);
    assert_eq!(limits.keys(), 3);
}

#[test]
fn a_limit_counts_only_what_it_matches() {
    let writes = Operation::new(vec![], vec![PathPattern::new("/a/*")], vec![]);
    let limit = RateLimit::new("a", 1, second()).with_matches([writes]);
    let (limits, now) = (RateLimits::new(&[limit], Instant::now()), Instant::now());
    let at = |path| Caller {
        path,
        ..caller("web")
    };
    assert_eq!(passes(&limits, now, &at("/b")), 100);
    assert_eq!(passes(&limits, now, &at("/a/x")), 1);
}

#[test]
fn a_live_change_keeps_the_counters() {
    let each = RateLimit::new("each", 3, second()).with_keys([RateKey::Identity]);
    let all = RateLimit::new("all", 100, second());
    let (limits, now) = (
        RateLimits::new(std::slice::from_ref(&each), Instant::now()),
        Instant::now(),
    );
    assert_eq!(passes(&limits, now, &caller("web")), 3);
    let limits = limits.next(&[all, each.clone().with_burst(2)], now);
    assert_eq!(passes(&limits, now, &caller("web")), 0);
    assert_eq!(passes(&limits, now, &caller("job")), 2);
    // Spent is spent, however long the new time is.
    let slower = RateLimit::new("each", 3, Duration::from_secs(60)).with_keys([RateKey::Identity]);
    let limits = limits.next(&[slower], now);
    let limited = ask(&limits, now, &caller("web")).unwrap_err();
    assert_eq!(limited.retry_after, Duration::from_secs(20));
    assert_eq!(passes(&limits, now, &caller("job")), 1, "it had spent two");
}
