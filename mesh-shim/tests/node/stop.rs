//! The end of all.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::net::{TcpListener, TcpStream};

use crate::common::app::{RawApp, Recorder, ok};
use crate::common::until;
use crate::machine::{Machine, echo, get, h2c, upstreams};

#[tokio::test]
async fn a_stop_drains_all_at_once_and_cuts_nobody() {
    let machine = Machine::new();
    let (web, api, redis) = (RawApp::new().await, h2c(), echo().await);
    let unready = Duration::from_secs(2);
    let batch = "shop/batch,upstream=web.shop@0";
    let apps = (web.addr, &api, redis);
    let drains = ["--drain-unready", "2s", "--drain-in-flight", "20s"];
    let mut shim = machine.spawn_four(apps, batch, &drains);
    shim.ready().await;
    let asking = tokio::spawn(get(upstreams(&shim, "shop/batch")[0]));
    let mut slow = web.accept().await;
    slow.request().await;
    let began = Instant::now();
    shim.signal(Signal::TERM);
    let text = shim.turns("/readyz", 503).await;
    for name in ["web", "api", "redis", "batch"] {
        assert!(text.contains(&format!("shop/{name} draining")), "{text}");
    }
    // In flight beyond the time in which all are only unready: until nobody is let in any more.
    let port = shim.port("shop/web inbound");
    until("connections are refused", async || {
        TcpStream::connect(port).await.is_err()
    })
    .await;
    assert!(began.elapsed() >= unready, "{:?}", began.elapsed());
    let done = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone";
    slow.send(done).await;
    let answer = asking.await.unwrap();
    assert_eq!((answer.0, answer.2.as_str()), (200, "done"));
    let code = shim.end().await.code();
    let took = began.elapsed();
    println!("four applications drained in {took:?}, each with {unready:?} unready");
    assert_eq!(code, Some(0));
    assert!(took < 4 * unready, "{took:?}");
    api.shutdown().await;
}

#[tokio::test]
async fn the_spans_of_all_go_out_at_the_end_side_by_side() {
    let machine = Machine::new();
    let web = Recorder::new(|_| ok()).await;
    // It takes connections and says nothing.
    let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", collector.local_addr().unwrap());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let keep = heard.clone();
    tokio::spawn(async move {
        while let Ok((io, _)) = collector.accept().await {
            keep.lock().unwrap().push(io);
        }
    });
    let callers = ["a", "b", "c", "d"].map(|name| {
        machine.authority.identity(&machine.scratch, name);
        format!("shop/{name},upstream=web.shop@0")
    });
    let web = machine.web(web.addr);
    let mut apps = vec![web.as_str()];
    apps.extend(callers.iter().map(String::as_str));
    let mut shim = machine.spawn_with(
        &apps,
        &["--drain-unready", "0s"],
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &url),
    );
    shim.ready().await;
    for name in ["a", "b", "c", "d"] {
        let answer = get(upstreams(&shim, &format!("shop/{name}"))[0]).await;
        assert_eq!(answer.0, 200);
    }
    let began = Instant::now();
    shim.signal(Signal::TERM);
    assert_eq!(shim.end().await.code(), Some(0));
    let took = began.elapsed();
    let heard = heard.lock().unwrap().len();
    println!("five applications ended in {took:?}, and {heard} told a silent collector");
    assert_eq!(heard, 5);
    // 3 s for each one by one would be 15 s.
    assert!(took < Duration::from_secs(9), "{took:?}");
}
