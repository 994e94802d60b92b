//! The control server is frozen, which is worse than gone: its connections stay open.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::alone;
use crate::common::load::Load;
use crate::common::{Control, Role, Scratch, until};

const RATE: u32 = 200;

/// Every call may be repeated: they only read. And as many at a time as are under way when a process is killed: with
/// one live address left those are all.
const POLICY: &str = "\
apiVersion: v1
kind: Service
metadata: { name: echo, namespace: shop }
spec: {}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: echo, namespace: shop }
spec:
  parentRefs: [{ group: \"\", kind: Service, name: echo }]
  rules:
  - backendRefs: [{ name: echo }]
    retry: { attempts: 3, codes: [502, 503, 504] }
---
apiVersion: policy.mesh/v1alpha1
kind: BackendPolicy
metadata: { name: echo, namespace: shop }
spec:
  targetRefs: [{ kind: Service, name: echo }]
  ceilings: { maxRetries: 100 }
  retryBudget: { minRetriesPerSecond: 50 }
";

const DISK: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_control_server_and_every_backend_replaced_refused_connections_beat_discovery() {
    let _alone = alone().await;
    let scratch = Scratch::new();
    let control = Control::start(&scratch.path("c"), 0).await;
    control.apply(POLICY).await;
    let names = ["x", "y", "z"];
    let backend = async |name: &str, state: &str, listen: &str| {
        let args = ["--says", name, "--listen", listen];
        control.hop("echo", &scratch.path(state), &args).await
    };
    let mut old: BTreeMap<&str, Role> = BTreeMap::new();
    for name in names {
        old.insert(name, backend(name, name, "127.0.0.1:0").await);
    }
    let web = control.member("shop/web", &scratch.path("web")).await;
    let load = Load::start(web.client("echo"), RATE);
    until("every backend serves", async || load.so_far().by.len() == 3).await;

    // A change is on disk 200 ms after the one before it: what has not been written for longer is whole.
    until("every backend has its disk copy", async || {
        names.iter().all(|name| {
            let written = std::fs::metadata(scratch.path(name).join("snapshot"))
                .and_then(|file| file.modified());
            written.is_ok_and(|at| at.elapsed().is_ok_and(|ago| ago > DISK))
        })
    })
    .await;

    control.signal(Signal::STOP);
    let frozen = Instant::now();
    // One comes back where it was: the only address that stays both known and alive. It and the
    // others are killed, without a word to anybody, and start again from their own disk copies.
    let mut new = Vec::new();
    for name in names {
        let was = old.remove(name).expect("started above");
        let listen = match name {
            "x" => was.facts["addr"].clone(),
            _ => "127.0.0.1:0".to_owned(),
        };
        was.kill().await;
        let renamed = format!("new-{name}");
        new.push(backend(&renamed, name, &listen).await);
        if name == "x" {
            let back = Instant::now();
            until("the known address serves again", async || {
                load.so_far().by.contains_key("new-x")
            })
            .await;
            let took = back.elapsed();
            println!("the known address serves again {took:.1?} after it is back");
            assert!(took < Duration::from_secs(15), "{took:?}");
        }
    }
    // Discovery still says x, y and z. Only the first of them is there.
    let before = load.so_far();
    until("calls go on", async || {
        load.so_far().calls > before.calls + 5 * u64::from(RATE)
    })
    .await;
    let during = load.so_far();
    println!(
        "frozen for {:.1?}: {} calls, {} failed, served by {:?}",
        frozen.elapsed(),
        during.calls,
        during.failures(),
        during.by,
    );
    assert_eq!(during.failures(), 0, "{:?}", during.failed);
    assert!(!during.by.contains_key("new-y") && !during.by.contains_key("new-z"));

    control.signal(Signal::CONT);
    let thawed = Instant::now();
    until("the new ones are learned of", async || {
        let by = load.so_far().by;
        by.contains_key("new-y") && by.contains_key("new-z")
    })
    .await;
    let learned = thawed.elapsed();
    println!("all learned of {learned:.1?} after it went on");
    let figures = load.end().await;
    println!(
        "{} calls, {} failed, p99 {:?}, served by {:?}",
        figures.calls,
        figures.failures(),
        figures.quantile(0.99),
        figures.by
    );
    assert_eq!(figures.failures(), 0, "{:?}", figures.failed);
    for role in new {
        role.stop().await;
    }
}
