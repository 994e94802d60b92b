use std::time::Duration;

use tokio::time::Instant;

use super::{Drain, Phase, Timing};

fn drain() -> Drain {
    Drain::with_timing(Timing {
        unready: Duration::from_secs(2),
        in_flight: Duration::from_secs(25),
    })
}

#[tokio::test(start_paused = true)]
async fn phases_follow_and_done_comes_when_nothing_is_held() {
    let drain = drain();
    let hold = drain.hold();
    let start = Instant::now();
    assert!(drain.is_serving());
    drain.start();
    drain.start();
    assert_eq!(drain.phase(), Phase::Unready);
    drain.draining().await;
    assert_eq!(start.elapsed().as_secs(), 2);
    assert_eq!(drain.phase(), Phase::Draining);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(drain.phase(), Phase::Draining);
    drop(hold);
    drain.done().await;
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn what_never_ends_is_cut_after_the_time() {
    let drain = drain();
    let start = Instant::now();
    let cut = tokio::spawn({
        let drain = drain.clone();
        async move { drain.drive(std::future::pending::<()>(), |_| {}).await }
    });
    tokio::task::yield_now().await;
    assert_eq!(drain.held(), 1);
    drain.start();
    assert_eq!(cut.await.expect("the task"), None);
    assert_eq!(start.elapsed().as_secs(), 27);
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_told_once_and_may_finish() {
    let drain = drain();
    let (tell, told) = tokio::sync::oneshot::channel();
    drain.start();
    let output = drain
        .drive(async { told.await.expect("told") }, |_| {
            tell.send(7).expect("still there")
        })
        .await;
    assert_eq!(output, Some(7));
    drain.done().await;
}

#[test]
fn outside_a_runtime_it_ends_at_once() {
    let drain = drain();
    drain.start();
    assert_eq!(drain.phase(), Phase::Done);
}
