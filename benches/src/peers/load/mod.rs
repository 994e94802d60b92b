//! The load: closed loops that keep a subject busy, and an open loop at a fixed rate.
//!
//! Callers are threads with blocking sockets, a connection each (gRPC: a runtime each with eight
//! calls at a time on its connection): what they cost is on the core of the load, not of the subject.

mod bytes;
mod grpc;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::scenario::Traffic;

/// Connections of the closed loop where each carries one call at a time.
const CONNECTIONS: usize = 32;
/// Connections of the closed loop where each carries [`grpc::AT_A_TIME`] calls.
const SHARED_CONNECTIONS: usize = 4;
/// Connections of the open loop.
const PACED: u32 = 16;

/// Makes one call after another on a connection of its own.
trait Caller {
    /// One call, from its first byte to the last of its answer.
    fn call(&mut self) -> io::Result<()>;

    /// Calls until `stop`, and counts them; several at a time where the connection can.
    fn keep_calling(&mut self, stop: &AtomicBool, done: &AtomicU64) -> io::Result<()> {
        while !stop.load(Ordering::Relaxed) {
            self.call()?;
            done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn connect(traffic: Traffic, addr: SocketAddr) -> io::Result<Box<dyn Caller>> {
    Ok(match traffic {
        Traffic::Http1 => Box::new(bytes::Http1::connect(addr)?),
        Traffic::Tcp => Box::new(bytes::Echo::connect(addr)?),
        Traffic::WebSocket => Box::new(bytes::Echo::upgrade(addr)?),
        Traffic::Grpc => Box::new(grpc::Grpc::connect(addr)?),
    })
}

/// Keeps `addr` busy while `watch` runs; `watch` is given the count of calls so far.
///
/// # Errors
///
/// When any call fails: a figure with failures in it is none.
pub fn closed<T>(
    traffic: Traffic,
    addr: SocketAddr,
    watch: impl FnOnce(&AtomicU64) -> io::Result<T>,
) -> io::Result<T> {
    let connections = match traffic {
        Traffic::Grpc => SHARED_CONNECTIONS,
        _ => CONNECTIONS,
    };
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let callers: Vec<_> = (0..connections)
            .map(|_| scope.spawn(|| connect(traffic, addr)?.keep_calling(&stop, &done)))
            .collect();
        let seen = watch(&done);
        stop.store(true, Ordering::Relaxed);
        for caller in callers {
            caller
                .join()
                .map_err(|_| io::Error::other("a caller panicked"))??;
        }
        seen
    })
}

/// Calls `rate` times a second for `time`. The latencies are in nanoseconds, from the moment that
/// a call was due.
///
/// # Errors
///
/// When any call fails.
pub fn paced(
    traffic: Traffic,
    addr: SocketAddr,
    rate: u32,
    time: Duration,
) -> io::Result<Histogram<u64>> {
    let gap = Duration::from_secs(1) / rate;
    let start = Instant::now() + Duration::from_millis(50);
    thread::scope(|scope| {
        let callers: Vec<_> = (0..PACED)
            .map(|lane| {
                scope.spawn(move || {
                    let mut caller = connect(traffic, addr)?;
                    let mut seen = histogram();
                    let mut due = start + gap * lane;
                    while due < start + time {
                        thread::sleep(due.saturating_duration_since(Instant::now()));
                        caller.call()?;
                        let took = due.elapsed().as_nanos();
                        seen.saturating_record(u64::try_from(took).unwrap_or(u64::MAX));
                        due += gap * PACED;
                    }
                    Ok::<_, io::Error>(seen)
                })
            })
            .collect();
        let mut all = histogram();
        for caller in callers {
            let seen = caller
                .join()
                .map_err(|_| io::Error::other("a caller panicked"))??;
            all.add(seen).map_err(io::Error::other)?;
        }
        Ok(all)
    })
}

/// Opens `count` connections, makes a call on each, and keeps them while `watch` runs.
///
/// # Errors
///
/// When a connection or a call fails.
pub fn held<T>(
    traffic: Traffic,
    addr: SocketAddr,
    count: usize,
    watch: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let mut callers = Vec::with_capacity(count);
    for _ in 0..count {
        let mut caller = connect(traffic, addr)?;
        caller.call()?;
        callers.push(caller);
    }
    let seen = watch();
    drop(callers);
    seen
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 60_000_000_000, 3).expect("bounds in order")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::backend;

    #[test]
    fn each_kind_of_traffic_is_answered_by_the_backends() {
        let backends = backend::spawn().unwrap();
        for traffic in [
            Traffic::Http1,
            Traffic::Grpc,
            Traffic::Tcp,
            Traffic::WebSocket,
        ] {
            let addr = match traffic {
                Traffic::Tcp => backends.tcp[0],
                _ => backends.http[0],
            };
            let calls = closed(traffic, addr, |done| {
                while done.load(Ordering::Relaxed) < 100 {
                    thread::yield_now();
                }
                Ok(done.load(Ordering::Relaxed))
            });
            assert!(calls.unwrap() >= 100, "{traffic:?}");
            let seen = paced(traffic, addr, 1_000, Duration::from_millis(200)).unwrap();
            assert_eq!(seen.len(), 200, "{traffic:?}");
            held(traffic, addr, 10, || Ok(())).unwrap();
        }
        let closed_port = mesh_tower::testkit::free_port().unwrap();
        assert!(held(Traffic::Http1, closed_port, 1, || Ok(())).is_err());
    }
}
