//! Each application calls and is called as itself, whatever becomes of the others.

use std::time::{Duration, Instant};

use crate::common::app::{Recorder, ok};
use crate::machine::{Machine, closed, echo, get, h2c, ping, upstreams};

#[tokio::test]
async fn each_calls_and_is_called_by_its_own_identity() {
    let machine = Machine::new();
    let (web, api, redis) = (Recorder::new(|_| ok()).await, h2c(), echo().await);
    let batch =
        "shop/batch,upstream=api.shop@0,upstream=tcp://redis.shop:6379@0,upstream=web.shop@0";
    let apps = (web.addr, &api, redis);
    let mut shim = machine.spawn_four(apps, batch, &["--workers", "2"]);
    shim.ready().await;
    let lines = "shop/web ok\nshop/api ok\nshop/redis ok\nshop/batch ok\n";
    assert_eq!(
        shim.page("health", "/readyz").await,
        (200, lines.to_owned())
    );

    let from_web = upstreams(&shim, "shop/web");
    let from_batch = upstreams(&shim, "shop/batch");
    let allowed = get(from_web[0]).await;
    assert_eq!((allowed.0, allowed.2.as_str()), (200, "HTTP/2.0"));
    let denied = get(from_batch[0]).await;
    assert_eq!((denied.0, denied.1.as_str()), (403, "M4001"));
    let (answered, refused) = (ping(from_web[1]).await, ping(from_batch[1]).await);
    assert_eq!((answered.as_slice(), refused.len()), (&b"ping"[..], 0));
    let open = get(from_batch[2]).await;
    assert_eq!((open.0, open.2.as_str()), (200, "ok"));
    let line = shim.line("denied [M4001]").await;
    assert!(line.contains("application=\"shop/api\""), "{line}");
    println!("{line}\nweb to api {allowed:?}, batch to api {denied:?}, batch to web {open:?}");

    // Each application has its own series, and each metric one head.
    let text = shim.metrics().await;
    let count = |metric: &str, parts: &[&str]| -> f64 {
        let fits = |line: &&str| line.starts_with(metric) && parts.iter().all(|p| line.contains(p));
        let values = text.lines().filter(fits);
        let values = values.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        values.sum()
    };
    for (application, from, expected) in [
        ("shop/api", "shop/web", 1.0),
        ("shop/web", "shop/batch", 1.0),
        ("shop/web", "shop/web", 0.0),
    ] {
        let labels = [
            format!("application=\"{application}\""),
            format!("from=\"{from}\""),
        ];
        let labels = labels.each_ref().map(String::as_str);
        let found = count("mesh_server_requests_total{", &labels);
        println!("{application} has {found} requests of {from}");
        assert_eq!(found, expected, "{text}");
    }
    let denied = count(
        "mesh_denied_total{",
        &["application=\"shop/api\"", "shop/batch"],
    );
    assert_eq!(denied, 1.0, "{text}");
    for head in [
        "# TYPE mesh_calls_total ",
        "# TYPE mesh_shim_tunnels_total ",
    ] {
        assert_eq!(text.matches(head).count(), 1, "{head} in {text}");
    }
    assert_eq!(
        count("mesh_shim_tunnels_total{application=\"shop/web\"", &[]),
        0.0
    );
    api.shutdown().await;
}

#[tokio::test]
async fn one_that_is_down_is_told_of_and_the_others_serve() {
    let machine = Machine::new();
    let (web, (socket, down)) = (Recorder::new(|_| ok()).await, closed());
    let began = Instant::now();
    let batch = "shop/batch,upstream=web.shop@0";
    let mut shim = machine.spawn(
        &[&machine.web(web.addr), &machine.api(down), batch],
        &["--app-ready", "300ms"],
    );
    shim.line(&format!("shop/api: {down} does not accept after 300ms"))
        .await;
    shim.ready().await;
    println!("started after {:?} with one of three down", began.elapsed());
    let text = shim.turns("/readyz", 503).await;
    let waits = format!("shop/web ok\nshop/api {down} does not accept\nshop/batch ok\n");
    assert_eq!(text, waits);
    assert_eq!(shim.page("health", "/readyz/shop/web").await.0, 200);
    assert_eq!(shim.page("health", "/readyz/shop/api").await.0, 503);
    assert_eq!(shim.page("health", "/readyz/shop/none").await.0, 404);
    assert_eq!(get(upstreams(&shim, "shop/batch")[0]).await.0, 200);
    // Whoever calls it is told, and does not hang.
    let began = Instant::now();
    let told = get(upstreams(&shim, "shop/web")[0]).await;
    println!(
        "a call to the one that is down: {told:?} after {:?}",
        began.elapsed()
    );
    assert!(told.0 == 503 || told.0 == 502, "{told:?}");
    assert!(told.1.starts_with('M'), "{told:?}");
    assert!(began.elapsed() < Duration::from_secs(10));

    let listener = socket.listen(16).unwrap();
    let text = shim.turns("/readyz", 200).await;
    assert!(text.contains("shop/api ok"), "{text}");
    drop(listener);
}

#[tokio::test]
async fn one_that_cannot_join_is_told_of_and_tries_again() {
    let machine = Machine::new();
    let key = machine.scratch.path().join("api");
    std::fs::remove_dir_all(key).unwrap();
    let (web, api) = (Recorder::new(|_| ok()).await, h2c());
    let api_app = machine.api(api.local_addr()) + ",upstream=web.shop@0";
    let mut shim = machine.spawn(&[&machine.web(web.addr), &api_app], &[]);
    shim.ready().await;
    // Its own calls end at once, and do not wait for it.
    let began = Instant::now();
    let nothing = ping(upstreams(&shim, "shop/api")[0]).await;
    println!(
        "a connection of the one that cannot join ended in {:?}",
        began.elapsed()
    );
    assert!(nothing.is_empty() && began.elapsed() < Duration::from_secs(10));
    let (status, text) = shim.page("health", "/readyz").await;
    println!("{text}");
    assert_eq!(status, 503);
    assert!(text.contains("shop/web ok\nshop/api cannot join"), "{text}");
    // With its identity there, the next try succeeds.
    machine.authority.identity(&machine.scratch, "api");
    shim.turns("/readyz/shop/api", 200).await;
    let answer = get(upstreams(&shim, "shop/web")[0]).await;
    assert_eq!((answer.0, answer.2.as_str()), (200, "HTTP/2.0"));
    let answer = get(upstreams(&shim, "shop/api")[0]).await;
    assert_eq!((answer.0, answer.2.as_str()), (200, "ok"));
    api.shutdown().await;
}
