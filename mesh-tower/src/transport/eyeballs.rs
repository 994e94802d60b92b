//! Happy Eyeballs (RFC 8305), for an endpoint that has an address in each family.
//!
//! The endpoint is one, whichever family reaches it: its load, its ejection and its connections do
//! not depend on that. The second address is tried when the first has failed or has not answered
//! within 250 ms; the first connection wins and the other attempt is given up.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{BoxIo, Connect};

/// What could not be done.
#[derive(Debug)]
pub(super) enum Failed {
    /// By the network, or by the peer.
    Io(io::Error),
    /// Nobody answered in time.
    Timeout,
}

/// Connects to `first`, or to `second` when that is quicker. `limit` is for each address.
pub(super) async fn dial(
    connect: &dyn Connect,
    first: SocketAddr,
    second: Option<SocketAddr>,
    delay: Duration,
    limit: Duration,
) -> Result<(BoxIo, SocketAddr), Failed> {
    let one = async |addr: SocketAddr| match timeout(limit, connect.connect(addr)).await {
        Ok(Ok(io)) => Ok((io, addr)),
        Ok(Err(error)) => Err(Failed::Io(error)),
        Err(_) => Err(Failed::Timeout),
    };
    let mut early = pin!(one(first));
    let Some(second) = second else {
        return early.await;
    };
    let error = tokio::select! {
        biased;
        made = early.as_mut() => match made {
            Ok(made) => return Ok(made),
            Err(error) => Some(error),
        },
        () = sleep(delay) => None,
    };
    let mut late = pin!(one(second));
    if let Some(error) = error {
        // The error of the address that was preferred says more.
        return late.await.map_err(|_| error);
    }
    tokio::select! {
        biased;
        made = early.as_mut() => match made {
            Ok(made) => Ok(made),
            Err(error) => late.await.map_err(|_| error),
        },
        made = late.as_mut() => match made {
            Ok(made) => Ok(made),
            Err(_) => early.await,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use futures_core::future::BoxFuture;
    use tokio::time::Instant;

    use super::*;

    const V6: &str = "[2001:db8::1]:80";
    const V4: &str = "192.0.2.1:80";
    const LIMIT: Duration = Duration::from_secs(1);
    const DELAY: Duration = Duration::from_millis(250);

    /// Addresses that answer after a time, well or with a refusal; all others never do.
    struct Net(HashMap<SocketAddr, (u64, bool)>);

    impl Connect for Net {
        fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<BoxIo>> {
            let answer = self.0.get(&addr).copied();
            Box::pin(async move {
                let Some((after, well)) = answer else {
                    return std::future::pending().await;
                };
                sleep(Duration::from_millis(after)).await;
                if !well {
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                let io: BoxIo = Box::new(tokio::io::duplex(1).0);
                Ok(io)
            })
        }
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    async fn race(answers: &[(&str, u64, bool)]) -> (Result<SocketAddr, String>, u128) {
        let net = answers
            .iter()
            .map(|(at, after, well)| (addr(at), (*after, *well)));
        let net = Net(net.collect());
        let began = Instant::now();
        let made = dial(&net, addr(V6), Some(addr(V4)), DELAY, LIMIT).await;
        let made = made
            .map(|(_, by)| by)
            .map_err(|failed| format!("{failed:?}"));
        (made, began.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn rfc_8305_the_other_family_follows_after_250_ms_or_a_failure() {
        for (answers, by, took) in [
            // The preferred one is quick enough, though the other would be quicker.
            (&[(V6, 200, true), (V4, 1, true)][..], V6, 200),
            // Slow: the other overtakes it.
            (&[(V6, 900, true), (V4, 50, true)], V4, 300),
            // Slow, but first all the same.
            (&[(V6, 260, true), (V4, 50, true)], V6, 260),
            // A black hole costs 250 ms, not the time limit.
            (&[(V4, 1, true)], V4, 251),
            // A refusal costs nothing.
            (&[(V6, 1, false), (V4, 1, true)], V4, 2),
            // The late one fails: the early one still may come.
            (&[(V6, 600, true), (V4, 1, false)], V6, 600),
            // The early one fails while the late one is on its way.
            (&[(V6, 300, false), (V4, 400, true)], V4, 650),
        ] {
            let (made, elapsed) = race(answers).await;
            assert_eq!(made, Ok(addr(by)), "{answers:?}");
            assert_eq!(elapsed, took, "{answers:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rfc_8305_when_both_fail_the_preferred_ones_error_is_told() {
        let (made, took) = race(&[(V6, 5, false), (V4, 5, false)]).await;
        assert!(made.expect_err("both refuse").contains("ConnectionRefused"));
        assert_eq!(took, 10);
        let (made, took) = race(&[]).await;
        assert_eq!(made.expect_err("nobody is there"), "Timeout");
        assert_eq!(took, 1250, "each has its time");
    }
}
