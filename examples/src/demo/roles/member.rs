//! What all members of the shop's mesh do alike: join, report figures, take commands, stop.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mesh_core::telemetry::names;
use mesh_grpc::Join;
use mesh_tower::Mesh;
use mesh_tower::drain::Timing;
use tokio_util::sync::CancellationToken;

use super::lines::{read_commands, start_log, tell};
use crate::demo::asked_to_stop;
use crate::demo::fault::Fault;
use crate::demo::process::NAME;

/// The namespace of the shop.
pub(crate) const NAMESPACE: &str = "shop";

/// Between two `stats` lines: how finely the demo can see an ejection.
const STATS_EVERY: Duration = Duration::from_millis(100);

/// Everybody hears of a stop within milliseconds here; the defaults are for whole data centres.
const DRAIN: Timing = Timing {
    unready: Duration::from_millis(200),
    in_flight: Duration::from_secs(3),
};

/// Any error of a role, with its text.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// A process in the mesh.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) mesh: Mesh,
    pub(crate) fault: Arc<Fault>,
    pub(crate) stop: CancellationToken,
}

/// Runs `work` as a member of the mesh, on a runtime with two threads: a small process.
pub(crate) fn run<W, F>(service: &str, labels: &[(&str, &str)], work: W) -> Result<(), Error>
where
    W: FnOnce(Member) -> F,
    F: Future<Output = Result<(), Error>>,
{
    start_log();
    let stop = CancellationToken::new();
    let fault = Arc::new(Fault::default());
    let commands = fault.clone();
    read_commands(stop.clone(), move |line| {
        if !commands.command(line) {
            tracing::warn!(line, "not a command");
        }
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut join = Join::builder().service(service).namespace(NAMESPACE);
        if let Ok(name) = std::env::var(NAME) {
            join = join.instance(&name);
        }
        for (name, value) in labels {
            join = join.label(name, value);
        }
        let mesh = join.join().await?;
        mesh.drain().set_timing(DRAIN);
        let stats = tokio::spawn(report(mesh.clone()));
        let signals = tokio::spawn({
            let stop = stop.clone();
            async move {
                asked_to_stop().await;
                stop.cancel();
            }
        });
        let done = work(Member { mesh, fault, stop }).await;
        stats.abort();
        signals.abort();
        done
    })
}

/// Any free port on loopback.
pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

async fn report(mesh: Mesh) {
    let mut pace = tokio::time::interval(STATS_EVERY);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        let text = mesh.metrics_text();
        let out = sum(&text, names::ENDPOINTS, Some("ejected"))
            + sum(&text, names::ENDPOINTS, Some("unreachable"));
        tell(format_args!(
            "stats retries={} rescued={} ejections={} out={out}",
            sum(&text, names::RETRIES, None),
            sum(&text, names::RESCUED, None),
            sum(&text, names::EJECTIONS, None),
        ));
    }
}

/// The sum of all series of one metric, or of those with this `state`.
fn sum(text: &str, name: &str, state: Option<&str>) -> u64 {
    let state = state.map(|state| format!("state=\"{state}\""));
    text.lines()
        .filter_map(|line| line.strip_prefix(name))
        .filter(|rest| rest.starts_with('{') || rest.starts_with(' '))
        .filter(|rest| {
            state
                .as_ref()
                .is_none_or(|state| rest.contains(state.as_str()))
        })
        .filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok())
        .map(|value| {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "counts"
            )]
            let value = value.max(0.0) as u64;
            value
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_one_metric_are_added_up() {
        let text = "# TYPE a_total counter\na_total{to=\"x\"} 2\na_total{to=\"y z\"} 3\na_total_more 9\n\
                    e{state=\"ejected\"} 1\ne{state=\"available\"} 2\nplain 4\n";
        assert_eq!(sum(text, "a_total", None), 5);
        assert_eq!(sum(text, "e", Some("ejected")), 1);
        assert_eq!(sum(text, "plain", None), 4);
        assert_eq!(sum(text, "missing", None), 0);
    }
}
