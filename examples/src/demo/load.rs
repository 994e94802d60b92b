//! Users: a paced, bounded load on `web`.
//!
//! Open loop: a call is due every 20 ms whatever became of the others, and its latency counts from
//! the moment it was due. Bounded: when too many are under way the next one fails as `load`, so
//! that a hanging mesh is seen, not waited for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::figures::{Failed, Recorder, code_in};

/// Calls a second.
pub(crate) const RATE: u32 = 50;
const IN_FLIGHT: usize = 200;
/// A user does not wait longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Products asked for in turn.
const PRODUCTS: u64 = 100;

/// Calls `web` until `stop`, then waits for the calls under way.
pub(crate) async fn run(web: SocketAddr, recorder: Arc<Recorder>, stop: CancellationToken) {
    let users = Arc::new(Users {
        web,
        idle: Mutex::new(Vec::new()),
    });
    let places = Arc::new(Semaphore::new(IN_FLIGHT));
    let calls = TaskTracker::new();
    let mut pace = tokio::time::interval(Duration::from_secs(1) / RATE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut product = 0;
    loop {
        let due = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            due = pace.tick() => due,
        };
        product = (product + 1) % PRODUCTS;
        let Ok(place) = places.clone().try_acquire_owned() else {
            recorder.record(Err("load".into()), Duration::ZERO);
            continue;
        };
        let (users, recorder) = (users.clone(), recorder.clone());
        calls.spawn(async move {
            let outcome = tokio::time::timeout(PATIENCE, users.ask(product)).await;
            let outcome = outcome.unwrap_or_else(|_| Err("no answer in 5s".into()));
            recorder.record(outcome, Instant::now().duration_since(due));
            drop(place);
        });
    }
    calls.close();
    calls.wait().await;
}

struct Users {
    web: SocketAddr,
    idle: Mutex<Vec<SendRequest<Empty<Bytes>>>>,
}

impl Users {
    /// One call; the code of the failure, or the status where the answer has none.
    async fn ask(&self, product: u64) -> Result<(), Failed> {
        let broken = |error: &dyn std::fmt::Display| Failed {
            code: "broken".to_owned(),
            text: format!("web: {error}"),
        };
        let mut connection = self.connection().await.map_err(|error| broken(&error))?;
        let request = Request::get(format!("/product/{product}"))
            .header("host", "shop.example")
            .body(Empty::new())
            .map_err(|error| broken(&error))?;
        let answer = connection
            .send_request(request)
            .await
            .map_err(|error| broken(&error))?;
        let status = answer.status();
        let body = answer
            .into_body()
            .collect()
            .await
            .map_err(|error| broken(&error))?;
        if let Ok(mut idle) = self.idle.lock() {
            idle.push(connection);
        }
        if status == StatusCode::OK {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        let code = code_in(&text).map_or_else(|| status.as_u16().to_string(), str::to_owned);
        Err(Failed { code, text })
    }

    async fn connection(&self) -> Result<SendRequest<Empty<Bytes>>, String> {
        loop {
            let idle = self.idle.lock().ok().and_then(|mut idle| idle.pop());
            match idle {
                Some(connection) if connection.is_ready() => return Ok(connection),
                Some(_) => {}
                None => break,
            }
        }
        let stream = TcpStream::connect(self.web)
            .await
            .map_err(|error| error.to_string())?;
        let (connection, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        // Ends with its connection, which lives no longer than `Users`.
        tokio::spawn(driver);
        Ok(connection)
    }
}
