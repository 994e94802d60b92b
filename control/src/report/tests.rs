use super::*;

fn edge(to: &str, calls: u64, failures: u64) -> pb::EdgeReport {
    pb::EdgeReport {
        to: to.to_owned(),
        route: "main".to_owned(),
        calls,
        failures,
        mtls: true,
        latency: Some(pb::Histogram {
            index: vec![100],
            count: vec![calls],
        }),
        ..Default::default()
    }
}

fn report(edges: Vec<pb::EdgeReport>) -> pb::ReportRequest {
    pb::ReportRequest {
        instance: "web-1".to_owned(),
        edges,
        ..Default::default()
    }
}

fn web() -> ServiceName {
    "shop/web".parse().unwrap()
}

fn at(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

#[test]
fn the_short_window_is_the_last_ten_full_seconds() {
    let start = Instant::now();
    let mut reports = Reports::new(start);
    for second in 0..30 {
        reports.take(
            &web(),
            report(vec![edge("shop/reviews", 5, 1)]),
            at(start, second),
        );
        reports.sweep(at(start, second));
    }
    let edges = reports.edges(Span::Short, at(start, 30));
    assert_eq!(edges.len(), 1);
    let (from, sum) = &edges[0];
    assert_eq!(
        (from.as_str(), sum.calls, sum.failures),
        ("shop/web", 50, 10)
    );
    assert!(quantile_us(sum.latency.as_ref().unwrap(), 0.5).is_some());
    let hour = reports.edges(Span::Long, at(start, 30));
    assert_eq!(hour[0].1.calls, 150);
    assert!(reports.edges(Span::Short, at(start, 45)).is_empty());
    assert_eq!(reports.edges(Span::Long, at(start, 3000))[0].1.calls, 150);
    reports.sweep(at(start, 3700));
    assert!(reports.edges(Span::Long, at(start, 3700)).is_empty());
}

#[test]
fn edges_beyond_the_cap_are_added_up_under_other() {
    let start = Instant::now();
    let mut reports = Reports::new(start);
    for n in 0..700 {
        let edges = vec![edge(&format!("shop/s{n}"), 1, 0)];
        reports.take(&web(), report(edges), start);
    }
    let edges = reports.edges(Span::Short, at(start, 1));
    assert_eq!(edges.len(), limits::MAX_EDGES + 1);
    let other = edges.iter().find(|(from, _)| from == "_other").unwrap();
    assert_eq!(other.1.calls, 100);
}

#[test]
fn an_edge_is_mtls_only_when_all_of_it_is() {
    let start = Instant::now();
    let mut reports = Reports::new(start);
    reports.take(&web(), report(vec![edge("shop/a", 1, 0)]), start);
    assert!(reports.edges(Span::Short, at(start, 1))[0].1.mtls);
    let plaintext = pb::EdgeReport {
        mtls: false,
        ..edge("shop/a", 1, 0)
    };
    reports.take(&web(), report(vec![plaintext]), start);
    assert!(!reports.edges(Span::Short, at(start, 1))[0].1.mtls);
}

#[test]
fn an_endpoint_keeps_its_latest_state_and_the_sums_of_the_window() {
    let start = Instant::now();
    let mut reports = Reports::new(start);
    let endpoint = |state: pb::EndpointHealth| pb::EndpointReport {
        service: "shop/reviews".to_owned(),
        addr: "10.0.0.1:1".to_owned(),
        state: state.into(),
        calls: 10,
        failures: 3,
        ..Default::default()
    };
    for (second, state) in [pb::EndpointHealth::Available, pb::EndpointHealth::Ejected]
        .into_iter()
        .enumerate()
    {
        let mut said = report(Vec::new());
        said.endpoints = vec![endpoint(state)];
        reports.take(&web(), said, at(start, second as u64));
    }
    let sums = reports.endpoints(Some("shop/reviews"), at(start, 2));
    assert_eq!(sums.len(), 1);
    assert_eq!(sums[0].report.state(), pb::EndpointHealth::Ejected);
    assert_eq!((sums[0].report.calls, sums[0].report.failures), (20, 6));
    assert!(
        reports
            .endpoints(Some("shop/other"), at(start, 2))
            .is_empty()
    );
    reports.sweep(at(start, 20));
    assert!(
        reports.endpoints(None, at(start, 20)).is_empty(),
        "nobody uses it any more"
    );
}

#[test]
fn denials_certificates_and_plaintext_are_kept() {
    let start = Instant::now();
    let mut reports = Reports::new(start);
    let mut said = report(Vec::new());
    said.inbound = vec![
        pb::InboundReport {
            from: "spiffe://m/ns/a/sa/b".to_owned(),
            calls: 5,
            denied: 2,
            ..Default::default()
        },
        pb::InboundReport {
            from: "plaintext".to_owned(),
            calls: 5,
            ..Default::default()
        },
    ];
    said.identity_not_after_unix = 77;
    said.plaintext_peers = 3;
    reports.take(&web(), said, start);
    let denied = reports.denied(at(start, 1));
    assert_eq!((denied.len(), denied[0].denied), (1, 2));
    assert_eq!(
        reports.certificates(),
        [("shop/web".to_owned(), "web-1".to_owned(), 77)]
    );
    assert_eq!(
        reports.plaintext(at(start, 1)),
        [("shop/web".to_owned(), 3)]
    );
    reports.sweep(at(start, 100));
    assert!(reports.certificates().is_empty() && reports.denied(at(start, 100)).is_empty());
}

#[test]
fn a_report_of_unbounded_size_is_refused() {
    assert!(check(&report(vec![edge("shop/a", 1, 0)])).is_ok());
    assert!(check(&report(vec![edge("shop/a", 1, 0); 1001])).is_err());
    assert!(check(&report(vec![edge("NOT A NAME", 1, 0)])).is_err());
    let mut codes = edge("shop/a", 1, 0);
    codes.codes = (0..33).map(|n| (n.to_string(), 1)).collect();
    assert!(check(&report(vec![codes])).is_err());
    let mut wide = edge("shop/a", 1, 0);
    wide.latency = Some(pb::Histogram {
        index: vec![0; 1001],
        count: vec![0; 1001],
    });
    assert!(check(&report(vec![wide])).is_err());
    let mut named = report(Vec::new());
    named.instance = "x".repeat(254);
    assert!(check(&named).is_err());
    let mut endpoint = report(Vec::new());
    endpoint.endpoints = vec![pb::EndpointReport {
        service: "shop/a".into(),
        addr: "nowhere".into(),
        ..Default::default()
    }];
    assert!(check(&endpoint).is_err());
}

#[test]
fn rates_are_over_what_there_was_of_the_hour() {
    let start = Instant::now();
    let reports = Reports::new(start);
    let covered = |span, seconds| reports.covered(span, at(start, seconds)).as_secs();
    assert_eq!(covered(Span::Long, 5), 60);
    assert_eq!(covered(Span::Long, 600), 600);
    assert_eq!(covered(Span::Long, 9000), 3600);
    assert_eq!(covered(Span::Short, 600), 10);
}
