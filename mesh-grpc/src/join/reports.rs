//! What this process measures, once a second.

use std::time::{Duration, UNIX_EPOCH};

use mesh_core::name::ServiceName;
use mesh_tower::mesh::WeakMesh;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{
    backoff::Backoff,
    subscription::{SharedMember, text},
};
use crate::{
    channel::Channel,
    pb::control::{ReportRequest, report_client::ReportClient},
    wire::report_to_proto,
};

const EVERY: Duration = Duration::from_secs(1);

/// Reports for ever; ends with the mesh.
pub(super) async fn run(
    mesh: WeakMesh,
    member: SharedMember,
    service: ServiceName,
    instance: String,
    channel: Channel,
) {
    let mut backoff = Backoff::default();
    let mut sequence = 0;
    loop {
        let (requests, outgoing) = mpsc::channel(1);
        let mut client = ReportClient::new(channel.clone());
        let mut acks = match client.push(ReceiverStream::new(outgoing)).await {
            Ok(response) => response.into_inner(),
            Err(status) => {
                tracing::debug!(target: "mesh::join", "reports interrupted: {}", text(&status));
                backoff.wait().await;
                continue;
            }
        };
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut last = tokio::time::Instant::now();
        loop {
            tokio::select! {
                biased;
                ack = acks.message() => match ack {
                    Ok(Some(_)) => backoff.reset(),
                    _ => break,
                },
                _ = tick.tick() => {
                    // While a report waits to be sent none is made: the next one covers both seconds.
                    let Ok(permit) = requests.try_reserve() else { continue };
                    let Some(mesh) = mesh.upgrade() else { return };
                    sequence += 1;
                    let now = tokio::time::Instant::now();
                    let identity = mesh.credentials().identity();
                    let not_after = identity.and_then(|id| id.not_after().duration_since(UNIX_EPOCH).ok());
                    let mut report = ReportRequest {
                        service: service.to_string(),
                        instance: instance.clone(),
                        sequence,
                        interval_ms: u32::try_from((now - last).as_millis()).unwrap_or(u32::MAX),
                        identity_not_after_unix: not_after
                            .map_or(0, |time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX)),
                        ..report_to_proto(&mesh.report())
                    };
                    last = now;
                    let member = member.lock();
                    report.held = member.held();
                    report.revision = member.revision().to_owned();
                    permit.send(report);
                }
            }
        }
        backoff.wait().await;
    }
}
