use std::time::Duration;

use super::*;
use crate::report::{DeniedSum, EndpointSum};
use crate::store::Refused;

fn endpoint(addr: &str, calls: u64, failures: u64, ms: u64) -> EndpointSum {
    EndpointSum {
        from: "shop/web".to_owned(),
        instance: "web-1".to_owned(),
        report: pb::EndpointReport {
            service: "shop/reviews".to_owned(),
            addr: addr.to_owned(),
            calls,
            failures,
            ewma_us: ms * 1000,
            ..Default::default()
        },
    }
}

fn edge(calls: u64, failures: u64, code: &str) -> (String, pb::EdgeReport) {
    let codes = if code.is_empty() {
        Default::default()
    } else {
        [(code.to_owned(), failures)].into()
    };
    let report = pb::EdgeReport {
        to: "shop/reviews".to_owned(),
        calls,
        failures,
        codes,
        ..Default::default()
    };
    ("shop/web".to_owned(), report)
}

/// Codes and subjects of what is not well.
fn bad(seen: &Observed) -> Vec<(String, String)> {
    findings(seen)
        .into_iter()
        .filter(|finding| finding.severity() != pb::Severity::Ok)
        .map(|finding| {
            assert!(!finding.next.is_empty(), "{finding:?} has a next step");
            (finding.code, finding.subject)
        })
        .collect()
}

fn one(code: &str, subject: &str) -> Vec<(String, String)> {
    vec![(code.to_owned(), subject.to_owned())]
}

#[test]
fn a_healthy_mesh_has_no_findings_and_says_what_was_looked_at() {
    let seen = Observed {
        endpoints: vec![endpoint("a:1", 100, 0, 4), endpoint("b:1", 100, 1, 6)],
        edges: vec![edge(100, 0, "")],
        ..Default::default()
    };
    assert!(bad(&seen).is_empty());
    let subjects: Vec<_> = findings(&seen)
        .into_iter()
        .map(|finding| finding.subject)
        .collect();
    assert_eq!(
        subjects,
        [
            "policy",
            "clients",
            "registry",
            "identity",
            "endpoints",
            "traffic"
        ]
    );
}

#[test]
fn an_endpoint_that_fails_more_than_its_peers_is_m5005() {
    let mut seen = Observed {
        endpoints: vec![endpoint("a:1", 20, 6, 4), endpoint("b:1", 20, 0, 4)],
        ..Default::default()
    };
    assert_eq!(bad(&seen), one("M5005", "shop/reviews a:1"));
    assert!(
        findings(&seen)[0].message.starts_with("30% of 20 calls"),
        "{:?}",
        findings(&seen)[0]
    );
    seen.endpoints = vec![endpoint("a:1", 20, 6, 4), endpoint("b:1", 20, 6, 4)];
    assert!(bad(&seen).is_empty(), "all alike: not an endpoint's fault");
    seen.endpoints = vec![endpoint("a:1", 4, 4, 4), endpoint("b:1", 20, 0, 4)];
    assert!(bad(&seen).is_empty(), "too few calls to say");
    seen.endpoints[0]
        .report
        .set_state(pb::EndpointHealth::Ejected);
    assert_eq!(bad(&seen), one("M5005", "shop/reviews a:1"));
}

#[test]
fn an_endpoint_slower_than_its_peers_is_m5005() {
    let mut seen = Observed {
        endpoints: vec![
            endpoint("a:1", 5, 0, 900),
            endpoint("b:1", 50, 0, 4),
            endpoint("c:1", 50, 0, 5),
        ],
        ..Default::default()
    };
    assert_eq!(bad(&seen), one("M5005", "shop/reviews a:1"));
    assert!(
        findings(&seen)[0].message.contains("900ms"),
        "{:?}",
        findings(&seen)[0]
    );
    seen.endpoints[0] = endpoint("a:1", 5, 0, 15);
    assert!(bad(&seen).is_empty(), "15 ms is not worth a finding");
    seen.endpoints = vec![endpoint("a:1", 5, 0, 900)];
    assert!(bad(&seen).is_empty(), "no peers to compare with");
}

#[test]
fn a_vanished_instance_is_m5001_and_told_once() {
    let gone = || Gone {
        service: "shop/reviews".into(),
        addr: "a:1".into(),
        instance: "r-1".into(),
        time: Duration::from_secs(3),
    };
    let mut unreachable = endpoint("a:1", 5, 5, 4);
    unreachable
        .report
        .set_state(pb::EndpointHealth::Unreachable);
    let mut seen = Observed {
        lost: vec![gone()],
        endpoints: vec![unreachable],
        ..Default::default()
    };
    assert_eq!(bad(&seen), one("M5001", "shop/reviews a:1"));
    seen.orphans = std::mem::take(&mut seen.lost);
    assert_eq!(bad(&seen), one("M5001", "shop/reviews a:1"));
}

#[test]
fn refused_certificates_are_m5007_and_not_m5005() {
    let mut refused = endpoint("a:1", 9, 9, 4);
    refused.report.last_code = "M4003".to_owned();
    refused.report.set_state(pb::EndpointHealth::Ejected);
    let mut seen = Observed {
        endpoints: vec![refused, endpoint("b:1", 50, 0, 4)],
        edges: vec![edge(50, 9, "M4003")],
        ..Default::default()
    };
    assert_eq!(
        bad(&seen)[0],
        ("M5007".to_owned(), "shop/reviews a:1".to_owned())
    );
    seen.endpoints.clear();
    assert_eq!(bad(&seen), one("M5007", "shop/web -> shop/reviews"));
}

#[test]
fn denied_calls_are_m5006_from_either_side_but_told_once() {
    let mut seen = Observed {
        edges: vec![edge(50, 50, "M4001")],
        ..Default::default()
    };
    assert_eq!(bad(&seen), one("M5006", "shop/web -> shop/reviews"));
    seen.denied = vec![DeniedSum {
        service: "shop/reviews".into(),
        from: "spiffe://mesh.local/ns/shop/sa/web".into(),
        calls: 50,
        denied: 50,
    }];
    assert_eq!(bad(&seen), one("M5006", "shop/web -> shop/reviews"));
    seen.denied[0].from = "plaintext".into();
    seen.edges.clear();
    assert_eq!(bad(&seen), one("M5006", "plaintext -> shop/reviews"));
}

#[test]
fn clients_that_refuse_or_lag_are_m5002_and_m5004() {
    let client = |nacks: &[&str], behind: Option<u64>| Client {
        name: "shop/web web-1".into(),
        nacks: nacks.iter().map(|nack| (*nack).to_owned()).collect(),
        revision: "abc".into(),
        behind_for: behind.map(Duration::from_secs),
    };
    let seen = |client| Observed {
        clients: vec![client],
        ..Default::default()
    };
    assert_eq!(
        bad(&seen(client(&["spec.rules[0]"], Some(60)))),
        one("M5002", "shop/web web-1")
    );
    assert_eq!(
        bad(&seen(client(&[], Some(60)))),
        one("M5004", "shop/web web-1")
    );
    assert!(
        bad(&seen(client(&[], Some(2)))).is_empty(),
        "an update takes a moment"
    );
}

#[test]
fn a_certificate_that_was_not_renewed_is_m4004() {
    let seen = |left: i64| Observed {
        certificates: vec![("shop/web".into(), "web-1".into(), 1_000_000 + left)],
        now_unix: 1_000_000,
        leaf_ttl: Duration::from_secs(86_400),
        ..Default::default()
    };
    assert!(bad(&seen(6 * 3600)).is_empty(), "renewal is at 30 % left");
    assert_eq!(bad(&seen(3600)), one("M4004", "shop/web web-1"));
    assert_eq!(findings(&seen(-1))[0].severity(), pb::Severity::Error);
}

#[test]
fn an_invalid_policy_directory_has_the_code_of_its_first_error() {
    let refused = Refused {
        code: "M3002".into(),
        first: "a.yaml:3:3: unknown".into(),
        errors: 1,
        rendered: String::new(),
    };
    let seen = Observed {
        refused: Some(refused),
        ..Default::default()
    };
    assert_eq!(bad(&seen), one("M3002", "policy directory"));
}

#[test]
fn an_edge_that_loses_calls_has_the_code_of_most_of_them() {
    let seen = Observed {
        edges: vec![edge(100, 50, "M2004")],
        ..Default::default()
    };
    assert_eq!(bad(&seen), one("M2004", "shop/web -> shop/reviews"));
    let seen = Observed {
        edges: vec![edge(1000, 5, "503")],
        ..Default::default()
    };
    assert!(bad(&seen).is_empty());
}

#[test]
fn a_canary_that_gets_more_than_its_weight_past_the_split_is_m5011_and_names_who_bypasses() {
    let share = |backend: &str, weight, routed, past: &[(&str, u64)]| Share {
        backend: backend.to_owned(),
        weight,
        routed,
        past: past
            .iter()
            .map(|(from, calls)| ((*from).to_owned(), *calls))
            .collect(),
    };
    let split = |v1, v2| Observed {
        splits: vec![Split {
            service: "shop/reviews".to_owned(),
            route: "reviews/0".to_owned(),
            targets: vec![v1, v2],
        }],
        ..Default::default()
    };
    let seen = split(
        share("shop/reviews-v1", 90, 90, &[]),
        share(
            "shop/reviews-v2",
            10,
            10,
            &[("shop/batch", 50), ("plaintext", 10)],
        ),
    );
    assert_eq!(bad(&seen), one("M5011", "shop/reviews-v2"));
    let text = &findings(&seen)[0].message;
    assert!(
        text.starts_with("receives 43.8% of the calls of shop/reviews rule reviews/0, 10.0% is intended: 60 of 70 calls"),
        "{text}"
    );
    assert!(
        text.ends_with("from shop/batch (50), plaintext (10)"),
        "{text}"
    );
    // In proportion, or too few to say.
    let even = split(
        share("shop/reviews-v1", 90, 0, &[("shop/batch", 90)]),
        share("shop/reviews-v2", 10, 0, &[("shop/batch", 10)]),
    );
    assert!(bad(&even).is_empty());
    let few = split(
        share("shop/reviews-v1", 90, 9, &[]),
        share("shop/reviews-v2", 10, 1, &[("shop/batch", 9)]),
    );
    assert!(bad(&few).is_empty());
}

#[test]
fn callers_without_an_identity_are_m5012_by_address() {
    let stranger = |last: [u8; 4], calls| crate::report::StrangerSum {
        service: "shop/reviews".to_owned(),
        source: last.into(),
        connections: 1,
        calls,
        first: 20,
        last: 2,
    };
    let seen = Observed {
        strangers: vec![stranger([10, 0, 0, 7], 3), stranger([10, 0, 0, 8], 40)],
        ..Default::default()
    };
    assert_eq!(bad(&seen), one("M5012", "shop/reviews"));
    let text = &findings(&seen)[0].message;
    assert!(
        text.ends_with(
            "cut them off: 10.0.0.8 (40 calls, last 2s ago), 10.0.0.7 (3 calls, last 2s ago)"
        ),
        "{text}"
    );
    // Strict already: who has no call was refused, who has one is excepted.
    let seen = Observed {
        strangers: vec![stranger([10, 0, 0, 7], 3), stranger([10, 0, 0, 9], 0)],
        strict: ["shop/reviews".to_owned()].into(),
        ..Default::default()
    };
    let texts: Vec<_> = findings(&seen)
        .into_iter()
        .filter(|finding| finding.code == "M5012")
        .map(|finding| finding.message)
        .collect();
    assert!(
        texts[0].ends_with(": 10.0.0.7 (3 calls, last 2s ago)"),
        "{texts:?}"
    );
    assert_eq!(
        texts[1],
        "1 addresses try to call without an identity and are refused: \
         10.0.0.9 (1 connections, last 2s ago)"
    );
}

#[test]
fn an_exception_from_mutual_tls_that_ends_is_m5013_and_names_who_uses_it() {
    const DAY: i64 = 24 * 3600;
    let seen = |left: i64, users: &[[u8; 4]]| Observed {
        exceptions: vec![Excepted {
            policy: "TransportPolicy shop/reviews".to_owned(),
            source: Some("10.1.0.0/16".to_owned()),
            port: Some(8080),
            reason: Some("nightly batch".to_owned()),
            expires: 1_000_000_000 + left,
            users: users.iter().map(|user| (*user).into()).collect(),
        }],
        now_unix: 1_000_000_000,
        ..Default::default()
    };
    let text = |seen: &Observed| findings(seen)[0].message.clone();
    assert!(bad(&seen(7 * DAY, &[])).is_empty(), "there is time");
    let soon = seen(2 * DAY, &[[10, 1, 0, 7]]);
    assert_eq!(bad(&soon), one("M5013", "TransportPolicy shop/reviews"));
    assert_eq!(
        text(&soon),
        "the exception for 10.1.0.0/16 on port 8080 (nightly batch) ends in 2d: used by 10.1.0.7"
    );
    let over = seen(-3 * 3600, &[]);
    assert_eq!(bad(&over), one("M5013", "TransportPolicy shop/reviews"));
    assert_eq!(
        text(&over),
        "the exception for 10.1.0.0/16 on port 8080 (nightly batch) ended 3h ago: \
         nobody has used it in the last hour"
    );
}
