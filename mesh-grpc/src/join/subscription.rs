//! The stream of policy, endpoints and trust.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesh_core::{error::MeshError, name::ServiceName};
use mesh_tower::mesh::Feed;
use std::collections::BTreeSet;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Status;

use super::{backoff::Backoff, disk::Disk, member::Member};
use crate::{
    channel::Channel,
    pb::discovery::{
        DeltaDiscoveryRequest,
        aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
    },
};

/// A single resource can be larger than a response is meant to be.
const MAX_MESSAGE: usize = 64 << 20;

/// Shared with the reports, which say what is held.
#[derive(Clone)]
pub(super) struct SharedMember(Arc<Mutex<Member>>);

impl SharedMember {
    pub(super) fn new(member: Member) -> Self {
        Self(Arc::new(Mutex::new(member)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Member> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Subscribes for ever.
pub(super) async fn run(member: SharedMember, feed: Feed, channel: Channel) {
    let mut backoff = Backoff::default();
    let mut wanted = feed.wanted();
    let mut told = false;
    loop {
        let mut heard = false;
        let why = stream(&member, &feed, &channel, &mut wanted, &mut heard).await;
        feed.set_connected(false);
        if heard {
            backoff.reset();
            told = false;
        }
        // Once for each time that it goes away.
        if !std::mem::replace(&mut told, true) {
            tracing::warn!(target: "mesh::join", "no control server, the last good policy stays in force: {why}");
        }
        backoff.wait().await;
    }
}

/// One stream, from its first request to its end.
async fn stream(
    member: &SharedMember,
    feed: &Feed,
    channel: &Channel,
    wanted: &mut watch::Receiver<Arc<BTreeSet<ServiceName>>>,
    heard: &mut bool,
) -> String {
    // No more than the machine wants to say is ever in it.
    let (requests, outgoing) = mpsc::unbounded_channel();
    {
        let mut member = member.lock();
        let services = wanted.borrow_and_update().clone();
        member.want(&services);
        member.reconnect();
        say(&mut member, &requests);
    }
    let mut client = AggregatedDiscoveryServiceClient::new(channel.clone())
        .max_decoding_message_size(MAX_MESSAGE);
    let opened = client
        .delta_aggregated_resources(UnboundedReceiverStream::new(outgoing))
        .await;
    let mut responses = match opened {
        Ok(response) => response.into_inner(),
        Err(status) => return text(&status),
    };
    loop {
        tokio::select! {
            biased;
            changed = wanted.changed() => {
                if changed.is_err() {
                    // The mesh is gone and this task with it.
                    return std::future::pending().await;
                }
                let mut member = member.lock();
                let services = wanted.borrow_and_update().clone();
                member.want(&services);
                say(&mut member, &requests);
            }
            message = responses.message() => match message {
                Ok(Some(response)) => {
                    if !std::mem::replace(heard, true) {
                        tracing::info!(target: "mesh::join", "connected to the control server");
                        feed.set_connected(true);
                    }
                    let mut member = member.lock();
                    if let Err(violation) = member.on_response(response) {
                        return format!("it broke the protocol: {violation}");
                    }
                    say(&mut member, &requests);
                }
                Ok(None) => return "it ended the stream".to_owned(),
                Err(status) => return text(&status),
            },
        }
    }
}

fn say(member: &mut Member, requests: &mpsc::UnboundedSender<DeltaDiscoveryRequest>) {
    while let Some(request) = member.poll_request() {
        // The stream's end is noticed where it is read.
        let _ = requests.send(request);
    }
}

/// The reason of a failed call: the mesh's own if it made the status.
pub(super) fn text(status: &Status) -> String {
    match crate::mesh_error(status) {
        Some(error) => MeshError::to_string(&error),
        None => format!("{}: {}", status.code(), status.message()),
    }
}

/// Writes the last good snapshot after each change, at most five times a second.
pub(super) async fn save(member: SharedMember, disk: Disk) {
    let mut changes = member.lock().changes();
    let mut failed = false;
    loop {
        if changes.changed().await.is_err() {
            return;
        }
        let snapshot = member.lock().snapshot();
        let disk = disk.clone();
        let saved = tokio::task::spawn_blocking(move || disk.save_snapshot(&snapshot)).await;
        let error = saved
            .map_err(std::io::Error::other)
            .and_then(|saved| saved)
            .err();
        match error {
            Some(error) if !failed => {
                tracing::warn!(target: "mesh::join", "the last good policy is not kept on disk: {error}");
                failed = true;
            }
            Some(_) => {}
            None => failed = false,
        }
        // After, not before: a process that soon ends should have left something to start from.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}
