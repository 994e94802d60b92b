//! Retries at every hop of a row of processes.

use crate::alone;
use crate::common::load::Load;
use crate::common::{Control, Scratch};

/// Calls a second. Five processes of a debug build answer so many on two cores.
const RATE: u32 = 100;
const CALLS: u64 = 1000;

/// Two retries. The floor of the budget is for quiet clients: its usual 10/s would be a tenth of this load by itself.
fn retrying(service: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: {service}, namespace: shop }}\nspec: {{}}\n---\n\
         apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
         metadata: {{ name: {service}, namespace: shop }}\n\
         spec:\n  parentRefs: [{{ group: \"\", kind: Service, name: {service} }}]\n  rules:\n  \
         - backendRefs: [{{ name: {service} }}]\n    \
           retry: {{ attempts: 2, codes: [500, 502, 503, 504] }}\n---\n\
         apiVersion: policy.mesh/v1alpha1\nkind: BackendPolicy\n\
         metadata: {{ name: {service}, namespace: shop }}\n\
         spec:\n  targetRefs: [{{ kind: Service, name: {service} }}]\n  \
         retryBudget: {{ minRetriesPerSecond: 2 }}\n---\n"
    )
}

/// This process -> a -> b -> c -> leaf: four hops between five processes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_hops_of_real_processes_load_a_dead_leaf_with_at_most_1_3_times_what_is_offered() {
    let _alone = alone().await;
    let scratch = Scratch::new();
    let control = Control::start(&scratch.path("c"), 0).await;
    let row = ["a", "b", "c", "leaf"];
    let policy: String = row.iter().map(|name| retrying(name)).collect();
    control.apply(policy.trim_end_matches("---\n")).await;
    let mut processes = Vec::new();
    for (n, name) in row.iter().enumerate() {
        let args = match row.get(n + 1) {
            Some(next) => ["--next", next],
            None => ["--status", "503"],
        };
        processes.push(control.hop(name, &scratch.path(name), &args).await);
    }
    let web = control.member("shop/web", &scratch.path("web")).await;
    let load = Load::start(web.client("a"), RATE);
    crate::common::until("enough calls", async || load.so_far().calls >= CALLS).await;
    let figures = load.end().await;

    let mut seen = Vec::new();
    for (process, name) in processes.into_iter().zip(row) {
        let calls: u64 = process.stop().await["calls"].parse().expect("a number");
        seen.push((name, calls));
    }
    let leaf = seen[3].1 as f64 / figures.calls as f64;
    println!(
        "{} calls offered at {:.0}/s; seen: {seen:?}; the leaf sees {leaf:.3} times the load",
        figures.calls,
        figures.rate(),
    );
    assert_eq!(figures.failures(), figures.calls, "{:?}", figures.by);
    assert!(leaf > 1.0 && leaf <= 1.3, "{leaf}");
}
