//! A connection in service: polled to its end, closed when it is old or told to finish, cut when it must.

use std::{
    fmt::Display,
    future::Future,
    pin::{Pin, pin},
    time::Duration,
};

use super::{
    Limits,
    dispatch::Phase,
    signal::{Cut, Gate},
};

/// When a connection has lived for long enough.
pub(super) enum Age {
    Endless,
    /// It finishes then; the calls that are left have the grace.
    Until(tokio::time::Instant, Option<Duration>),
    /// It is cut then.
    Finishing(tokio::time::Instant),
}

// === impl Age ===

impl Age {
    pub(super) fn of(limits: &Limits) -> Self {
        let jitter = 0.9 + 0.2 * fastrand::f64();
        let end = limits
            .max_age
            .and_then(|age| tokio::time::Instant::now().checked_add(age.mul_f64(jitter)));
        end.map_or(Self::Endless, |end| Self::Until(end, limits.max_age_grace))
    }

    /// Waits for the next step: `false` to finish, `true` when that is over too. Cancel safe.
    async fn next(&mut self) -> bool {
        match *self {
            Self::Endless => std::future::pending().await,
            Self::Until(end, grace) => {
                tokio::time::sleep_until(end).await;
                let cut = grace.and_then(|grace| end.checked_add(grace));
                *self = cut.map_or(Self::Endless, Self::Finishing);
                false
            }
            Self::Finishing(cut) => {
                tokio::time::sleep_until(cut).await;
                true
            }
        }
    }
}

/// Polls a connection to its end, closing or cutting it when told to.
///
/// `finish` is hyper's graceful end: HTTP/2 sends GOAWAY and loses nothing. HTTP/1 closes an idle
/// connection at once, and with it a request that is on its way: there the answers of the last
/// moments say `connection: close`, and only a connection that stays silent for `linger` is closed.
pub(super) async fn drive<C, E>(
    connection: C,
    gate: &mut Gate,
    phase: &Phase,
    linger: Option<Duration>,
    mut age: Age,
    finish: impl Fn(Pin<&mut C>),
) where
    C: Future<Output = Result<(), E>>,
    E: Display,
{
    let mut connection = pin!(connection);
    let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
    let (mut closing, mut finishing, mut lingering) = (false, false, false);
    loop {
        tokio::select! {
            biased;
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(target: "mesh::server", "connection ended: {error}");
                }
                return;
            }
            next = gate.next() => match next {
                Cut::Now(reason) => {
                    tracing::info!(
                        target: "mesh::server",
                        remote = %gate.remote(),
                        peer = gate.peer().map_or("-", |peer| peer.as_str()),
                        "connection cut: {reason}"
                    );
                    return;
                }
                Cut::Finish => closing = true,
            },
            over = age.next() => {
                if over {
                    tracing::info!(
                        target: "mesh::server",
                        remote = %gate.remote(),
                        "connection cut: it is too old, and so is its grace"
                    );
                    return;
                }
                match linger {
                    // The next answer says `connection: close`. Nobody is in a hurry: to close one
                    // that is idle could meet a request that is on its way.
                    Some(_) => drop(phase.close()),
                    None => closing = true,
                }
            }
            () = timer.as_mut(), if lingering => {
                lingering = false;
                finish(connection.as_mut());
            }
        }
        if closing && !finishing {
            finishing = true;
            phase.close();
            match linger {
                Some(linger) => {
                    timer.as_mut().reset(tokio::time::Instant::now() + linger);
                    lingering = true;
                }
                None => finish(connection.as_mut()),
            }
        }
    }
}
