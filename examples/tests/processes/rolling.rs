//! Every backend is stopped and replaced, one after another, and no caller notices.

use crate::alone;
use crate::common::load::Load;
use crate::common::{Control, Scratch, until};

/// Calls a second; a machine that is busy offers what it can.
const RATE: u32 = 1000;
const BACKENDS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_of_every_backend_at_1_000_calls_a_second_fails_no_call() {
    let _alone = alone().await;
    let scratch = Scratch::new();
    let control = Control::start(&scratch.path("c"), 0).await;
    let backend = async |name: &str| {
        let args = ["--says", name];
        control.hop("echo", &scratch.path(name), &args).await
    };
    let mut backends = Vec::new();
    for n in 0..BACKENDS {
        backends.push(backend(&format!("old{n}")).await);
    }
    let web = control.member("shop/web", &scratch.path("web")).await;
    let load = Load::start(web.client("echo"), RATE);
    until("every backend serves", async || {
        load.so_far().by.len() == BACKENDS
    })
    .await;

    let mut served = 0;
    let mut replaced = Vec::new();
    for (n, old) in backends.into_iter().enumerate() {
        // As a rollout without room for one more: gone first, then replaced, at another address.
        let said = old.stop().await;
        served += said["calls"].parse::<u64>().expect("a number");
        let name = format!("new{n}");
        replaced.push(backend(&name).await);
        let calls = load.so_far().calls;
        until("the new one serves for a while", async || {
            let now = load.so_far();
            now.by.contains_key(&name) && now.calls > calls + u64::from(RATE)
        })
        .await;
    }
    let figures = load.end().await;
    println!(
        "{} calls at {:.0}/s, {} failed, {BACKENDS} restarts in {:.1?}, p50 {:?}, p99 {:?}",
        figures.calls,
        figures.rate(),
        figures.failures(),
        figures.took,
        figures.quantile(0.5),
        figures.quantile(0.99),
    );
    println!("{:?}", figures.by);
    assert_eq!(figures.failures(), 0, "{:?}", figures.failed);
    assert!(served > 0 && figures.calls > 1000, "{figures:?}");
    for new in replaced {
        served += new.stop().await["calls"].parse::<u64>().expect("a number");
    }
    // Each call was done once: none was repeated that had reached a handler.
    assert_eq!(served, figures.calls);
}
