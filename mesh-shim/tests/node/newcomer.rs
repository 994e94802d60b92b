//! A takeover by a shim with other applications.

use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::common::Shim;
use crate::common::app::{Recorder, ok};
use crate::machine::{Machine, echo, get, h2c, upstreams};

#[tokio::test]
async fn a_newcomer_may_speak_for_another_set_of_applications() {
    let machine = Machine::new();
    let (web, api, redis) = (Recorder::new(|_| ok()).await, h2c(), echo().await);
    let (web_app, redis_app) = (machine.web(web.addr), machine.redis(redis));
    let api_app = machine.api(api.local_addr());
    let socket = machine.scratch.at("sock");
    let more = ["--takeover", &socket, "--drain-unready", "100ms"];
    let mut first = machine.spawn(&[&redis_app, &web_app], &more);
    first.ready().await;
    let outbound = first.port("shop/web outbound");

    // One that cannot do all leaves it to the one that runs.
    let bad = api_app.clone() + ",identity=dir:/not/there";
    let mut unable = machine.spawn(&[&web_app, &bad], &more);
    let line = unable.line("shop/api: ").await;
    let code = unable.end().await.code();
    println!("a newcomer that cannot join for one: {line} (exit {code:?})");
    assert!(code.is_some_and(|code| code != 0));
    assert_eq!(first.page("health", "/readyz").await.0, 200);

    // In another order, one more and one fewer; the web's free port is the same one.
    let mut second = machine.spawn(&[&api_app, &web_app], &more);
    second.ready().await;
    assert_eq!(second.port("shop/web outbound"), outbound);
    assert_eq!(first.end().await.code(), Some(0));
    let answer = get(upstreams(&second, "shop/web")[0]).await;
    assert_eq!((answer.0, answer.2.as_str()), (200, "HTTP/2.0"));
    // Redis is nobody's any more.
    let gone = TcpStream::connect(("127.0.0.1", machine.redis)).await;
    assert!(gone.is_err(), "{gone:?}");
    // Also by a shim for that application alone.
    let policy = machine.scratch.at("policy.yaml");
    let identity = format!("dir:{}", machine.scratch.at("web"));
    let (port, inbound) = (web.addr.port().to_string(), machine.web.to_string());
    let any = "127.0.0.1:0";
    let mut args = vec!["--as", "shop/web", "--port", &port, "--inbound", &inbound];
    args.extend([
        "--outbound",
        any,
        "--policy",
        &policy,
        "--identity",
        &identity,
    ]);
    args.extend(["--health", any, "--metrics", any]);
    args.extend(more);
    let mut third = Shim::spawn(&args);
    third.ready().await;
    assert_eq!(third.port("outbound"), outbound);
    assert_eq!(second.end().await.code(), Some(0));
    third.signal(Signal::TERM);
    assert_eq!(third.end().await.code(), Some(0));
    api.shutdown().await;
}
