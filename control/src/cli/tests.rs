#[path = "../../tests/common/text.rs"]
mod text;

use self::text::Text;
use super::check::render;
use super::output::Paint;
use super::show::{client_table, edge_table, endpoint_table};
use super::table::WIDTH;
use super::*;
use crate::scratch::Scratch;
use crate::view::{Client, Edge, Endpoint, EndpointView, Finding, Refusal};

async fn meshctl(args: &[&str]) -> (u8, String, String) {
    let (out, err) = (Text::default(), Text::default());
    let args = std::iter::once("meshctl").chain(args.iter().copied());
    let exit = run_into(args, out.clone(), err.clone()).await;
    (exit, out.take(), err.take())
}

fn edge(from: &str, route: &str, calls: u64, mtls: bool) -> Edge {
    Edge {
        from: from.to_owned(),
        to: "shop/reviews".to_owned(),
        route: route.to_owned(),
        calls,
        calls_per_second: calls as f64 / 10.0,
        failures: 0,
        retries: 0,
        rescued: 0,
        p50_us: Some(4_100),
        p95_us: Some(11_000),
        p99_us: Some(38_000),
        endpoints: 3,
        ejected: 0,
        mtls,
        codes: Default::default(),
    }
}

#[test]
fn stat_reads_as_in_the_design() {
    let mut web = edge("shop/web", "reviews", 4180, true);
    (web.failures, web.retries, web.rescued, web.ejected) = (2, 88, 79, 1);
    let batch = edge("shop/batch-job", "", 31, false);
    assert_eq!(
        edge_table(&[web.clone(), batch], true),
        "\
FROM       ROUTE    CALLS/S  SUCCESS  P50   P95   P99  RETRIED  RESCUED  EJECTED  mTLS
web        reviews    418.0   99.95%  4ms  11ms  38ms     2.1%     1.9%      1/3  yes
batch-job  (none)       3.1  100.00%  4ms  11ms  38ms     0.0%        -      0/3  NO
\"rescued\" = failed at least once, then succeeded. Without retries success would be 98.08%.
"
    );
    let text = edge_table(
        &[
            web,
            edge(
                "ops/a-service-with-a-very-long-name-indeed",
                "a-long-route-name",
                1,
                true,
            ),
        ],
        false,
    );
    assert!(
        text.lines().all(|line| line.chars().count() <= WIDTH),
        "{text}"
    );
    assert!(
        text.contains("web.shop"),
        "two namespaces: names say theirs\n{text}"
    );
    assert_eq!(edge_table(&[], false), "no calls in the last 10s\n");
}

#[test]
fn endpoints_say_why_one_is_out() {
    let view = |state: &'static str, reason: &str| EndpointView {
        from: "shop/web".into(),
        instance: "web-1".into(),
        state,
        reason: reason.into(),
        in_flight: 1,
        latency_us: 4_000,
        calls: 40,
        failures: 12,
        last_code: "503".into(),
    };
    let endpoint = |addr: &str, views| Endpoint {
        service: "shop/reviews".into(),
        addr: addr.into(),
        instance: format!("reviews-{addr}"),
        identity: String::new(),
        labels: [("version".to_owned(), "v1".to_owned())].into(),
        zone: String::new(),
        weight: 1,
        lease_left_seconds: Some(12),
        views,
    };
    let rows = [
        endpoint("1.1.1.1:1", vec![view("ejected", "31% failed")]),
        endpoint("1.1.1.1:2", Vec::new()),
    ];
    assert_eq!(
        endpoint_table(&rows),
        "\
SERVICE  ADDRESS    INSTANCE      LABELS      STATE        CALLS  FAILED  LATENCY  LEASE  WHY
reviews  1.1.1.1:1  reviews-1.1…  version=v1  ejected 1/1     40   30.0%      4ms    12s  31% failed
reviews  1.1.1.1:2  reviews-1.1…  version=v1  unused           -       -        -    12s
"
    );
}

#[test]
fn clients_show_their_revision_and_what_they_refused() {
    let client = |instance: &str, behind, refused: &[(&str, &str)]| Client {
        service: "shop/web".into(),
        instance: instance.into(),
        addr: "127.0.0.1:5".into(),
        identity: String::new(),
        connected_since_unix: 1_000,
        revision: "1f2e3d4c5b6a7988".into(),
        resources_sent: 0,
        behind,
        refused: refused
            .iter()
            .map(|(kind, error)| Refusal {
                kind: (*kind).into(),
                error: (*error).into(),
            })
            .collect(),
    };
    let clients = [
        client("web-1", false, &[]),
        client(
            "web-2",
            true,
            &[("ServicePolicy", "spec.rules[0].timeouts.request: unknown")],
        ),
    ];
    assert_eq!(
        client_table(&clients, "aaaabbbbccccdddd", 1_045),
        "\
SERVICE  INSTANCE  ADDRESS      CONNECTED  REVISION          STATE
web      web-1     127.0.0.1:5        45s  1f2e3d4c5b6a7988  current
web      web-2     127.0.0.1:5        45s  1f2e3d4c5b6a7988  REFUSED
shop/web web-2 refused ServicePolicy: spec.rules[0].timeouts.request: unknown [M5002]
revision in force: aaaabbbbccccdddd
"
    );
}

#[test]
fn check_names_the_fault_and_the_next_step() {
    let finding = |severity, code: &str, subject: &str, message: &str, next: &str| Finding {
        severity,
        code: code.into(),
        subject: subject.into(),
        message: message.into(),
        next: next.into(),
    };
    let plain = |_: Paint, text: &str| text.to_owned();
    let well = finding(
        "ok",
        "",
        "policy",
        "revision abc, 12 resources, 0 warnings",
        "",
    );
    assert_eq!(
        render(std::slice::from_ref(&well), plain),
        "ok       policy: revision abc, 12 resources, 0 warnings\nall ok\n"
    );
    let bad = finding(
        "error",
        "M5001",
        "shop/reviews 127.0.0.1:4001",
        "instance reviews-v1#2 vanished: lease lost 12s ago",
        "start it again, or look at its log; meshctl endpoints reviews.shop",
    );
    assert_eq!(
        render(&[bad, well], plain),
        "\
ERROR    [M5001] shop/reviews 127.0.0.1:4001: instance reviews-v1#2 vanished: lease lost 12s ago
         next: start it again, or look at its log; meshctl endpoints reviews.shop
ok       policy: revision abc, 12 resources, 0 warnings
1 error, 0 warnings
next: meshctl explain M5001
"
    );
    let long = finding(
        "warning",
        "M5004",
        "shop/web",
        &"word ".repeat(60),
        &"step ".repeat(60),
    );
    assert!(
        render(&[long], plain)
            .lines()
            .all(|line| line.chars().count() <= WIDTH)
    );
}

#[tokio::test]
async fn every_failure_ends_in_a_next_line_and_has_its_exit_code() {
    let missing = Scratch::new("cli");
    let socket = format!("unix:{}/none.sock", missing.path().display());
    for (args, exit, says) in [
        (vec!["--control", &socket, "check"], 3, "[M1002]"),
        (vec!["--control", &socket, "stat"], 3, "[M1002]"),
        (
            vec!["--control", "https://control:7443", "clients"],
            2,
            "[M1003]",
        ),
        (
            vec!["policy", "check", "/no/such/file.yaml"],
            2,
            "/no/such/file.yaml",
        ),
        (vec!["explain", "M9999"], 2, "M9999"),
        (
            vec!["--control", "unix:/no/such.sock", "explain", "reviews"],
            3,
            "/no/such.sock",
        ),
        (vec!["polisy"], 2, "policy"),
        (vec!["policy", "check"], 2, "FILE"),
    ] {
        let (got, out, err) = meshctl(&args).await;
        assert_eq!(got, exit, "{args:?}: {err}");
        assert!(out.is_empty(), "{args:?}: {out}");
        assert!(err.contains(says), "{args:?}: {err}");
        let last = err.trim_end().lines().last().unwrap();
        assert!(last.starts_with("next: "), "{args:?}: {err}");
    }
}

#[tokio::test]
async fn help_and_explain_work_without_a_server() {
    let (exit, out, _) = meshctl(&["--help"]).await;
    assert_eq!(exit, 0);
    assert!(out.contains("Exit codes"), "{out}");
    let (exit, out, _) = meshctl(&["explain", "m2003"]).await;
    assert_eq!(exit, 0);
    assert!(
        out.starts_with("M2003: ") && out.contains("\nnext:\n  - "),
        "{out}"
    );
    let (_, out, _) = meshctl(&["explain", "M5001", "-o", "json"]).await;
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&out).unwrap()["code"],
        "M5001"
    );
    let (_, out, _) = meshctl(&["explain"]).await;
    assert!(out.lines().count() > 40, "{out}");
}

#[tokio::test]
async fn policy_check_shows_line_and_column_and_expand_the_long_form() {
    let dir = Scratch::new("cli");
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let good = write(
        "good.yaml",
        "service: shop/reviews:8080\nroute:\n- timeout: 2s\n",
    );
    let (exit, out, err) = meshctl(&["policy", "check", &good]).await;
    assert_eq!(exit, 0, "{err}");
    assert!(
        out.starts_with("ok: 1 resource, 0 warnings, revision "),
        "{out}"
    );

    let (exit, out, _) = meshctl(&["policy", "schema"]).await;
    let schema: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (exit, schema["title"].as_str()),
        (0, Some("Policy of the mesh"))
    );

    let (exit, out, _) = meshctl(&["policy", "expand", &good]).await;
    assert_eq!(exit, 0);
    assert!(
        out.contains("kind: HTTPRoute") && out.contains("request: 2s"),
        "{out}"
    );
    let long = write("long.yaml", &out);
    let (exit, _, err) = meshctl(&["policy", "check", &long]).await;
    assert_eq!(exit, 0, "the long form is policy too: {err}");

    let typo = write(
        "typo.yaml",
        "service: shop/reviews:8080\nroute:\n- timeuot: 2s\n",
    );
    let (exit, out, err) = meshctl(&["policy", "check", &typo]).await;
    assert_eq!((exit, out.as_str()), (1, ""));
    assert!(
        err.contains("error[M3002]") && err.contains("typo.yaml:3:3"),
        "{err}"
    );
    assert!(err.contains("did you mean `timeout`"), "{err}");
    assert!(err.trim_end().ends_with("meshctl explain M3002"), "{err}");
    let (exit, out, _) = meshctl(&["policy", "check", &typo, "-o", "json"]).await;
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((exit, &answer["ok"]), (1, &false.into()));
    assert_eq!(answer["problems"][0]["code"], "M3002");
    assert_eq!(answer["problems"][0]["at"]["line"], 3);
}
