//! The lease: what this process serves, as long as it lives.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    time::Duration,
};

use mesh_tower::{
    drain::{Drain, Phase},
    mesh::{Feed, Serving},
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::{backoff::Backoff, subscription::text};
use crate::{
    channel::Channel,
    pb::control::{
        Deregister, Heartbeat, Instance, RegisterRequest, register_request::Message,
        registry_client::RegistryClient,
    },
};

/// A third of the lease.
const BEAT: Duration = Duration::from_secs(5);

/// How long the end of the lease is waited for in a drain.
const GOODBYE: Duration = Duration::from_millis(100);

/// What is said of every instance of this process.
#[derive(Debug, Clone, Default)]
pub(super) struct About {
    pub(super) instance: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) zone: String,
    pub(super) weight: u32,
    pub(super) priority: u32,
    /// The address by which others reach this machine, for listeners on all addresses.
    pub(super) host: Option<IpAddr>,
}

/// Keeps the lease until the drain begins.
pub(super) async fn run(about: About, feed: Feed, drain: Drain, channel: Channel) {
    let mut backoff = Backoff::default();
    let mut serving = feed.serving();
    let mut leaving = std::pin::pin!(drain.reached(Phase::Unready));
    loop {
        // Nothing to say before something is served.
        let start = async { serving.wait_for(|all| !all.is_empty()).await.map(drop) };
        tokio::select! {
            biased;
            () = leaving.as_mut() => return,
            started = start => if started.is_err() { return },
        }
        let mut answered = false;
        match stream(
            &about,
            &feed,
            &channel,
            &mut serving,
            leaving.as_mut(),
            &mut answered,
        )
        .await
        {
            Ok(()) => return,
            Err(why) => tracing::debug!(target: "mesh::join", "registration interrupted: {why}"),
        }
        if answered {
            backoff.reset();
        }
        tokio::select! {
            biased;
            () = leaving.as_mut() => return,
            () = backoff.wait() => {}
        }
    }
}

/// One stream. `Ok` when the process is on its way out.
async fn stream(
    about: &About,
    feed: &Feed,
    channel: &Channel,
    serving: &mut watch::Receiver<Vec<Serving>>,
    mut leaving: Pin<&mut impl Future<Output = ()>>,
    answered: &mut bool,
) -> Result<(), String> {
    let (requests, outgoing) = mpsc::unbounded_channel();
    let mut registered: Vec<Serving> = Vec::new();
    let say = |message| {
        // The stream's end is noticed where it is read.
        let _ = requests.send(RegisterRequest {
            message: Some(message),
        });
    };
    let update = |registered: &mut Vec<Serving>, now: Vec<Serving>| {
        let leaves = !feed.is_handed_over();
        for gone in registered.iter().filter(|one| leaves && !now.contains(one)) {
            let addr = about.reachable(gone.addr).to_string();
            say(Message::Deregister(Deregister {
                service: gone.service.to_string(),
                addr,
            }));
        }
        for new in now.iter().filter(|one| !registered.contains(one)) {
            say(Message::Register(about.instance(new)));
        }
        *registered = now;
    };
    let now = serving.borrow_and_update().clone();
    update(&mut registered, now);
    let mut client = RegistryClient::new(channel.clone());
    let opened = client
        .register(UnboundedReceiverStream::new(outgoing))
        .await;
    let mut answers = opened.map_err(|status| text(&status))?.into_inner();
    let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + BEAT, BEAT);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = leaving.as_mut() => {
                if feed.is_handed_over() {
                    // The successor has registered the same addresses, or is about to.
                    return Ok(());
                }
                say(Message::Deregister(Deregister::default()));
                // Until it is confirmed: answers to earlier messages may come before.
                let confirmed = async {
                    while let Ok(Some(answer)) = answers.message().await {
                        if answer.entries == 0 {
                            return;
                        }
                    }
                };
                let _ = tokio::time::timeout(GOODBYE, confirmed).await;
                return Ok(());
            }
            changed = serving.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let now = serving.borrow_and_update().clone();
                update(&mut registered, now);
            }
            _ = beat.tick() => say(Message::Heartbeat(Heartbeat {})),
            answer = answers.message() => match answer {
                Ok(Some(answer)) => {
                    *answered = true;
                    if let Some(place) = answer.place {
                        let zones = place.zones.into_iter();
                        let zones = zones.map(|(zone, count)| (zone.into(), count)).collect();
                        feed.peers(place.index, place.count, zones);
                    }
                }
                Ok(None) => return Err("the control server ended the stream".to_owned()),
                Err(status) => return Err(text(&status)),
            },
        }
    }
}

impl About {
    fn instance(&self, serving: &Serving) -> Instance {
        Instance {
            service: serving.service.to_string(),
            addr: self.reachable(serving.addr).to_string(),
            labels: self.labels.clone(),
            zone: self.zone.clone(),
            weight: self.weight,
            instance: self.instance.clone(),
            priority: self.priority,
        }
    }

    /// Where others reach a listener: its own address, or this machine's if it listens on all.
    fn reachable(&self, addr: SocketAddr) -> SocketAddr {
        if !addr.ip().is_unspecified() {
            return addr;
        }
        SocketAddr::new(self.host.unwrap_or(Ipv4Addr::LOCALHOST.into()), addr.port())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_registered_by_the_address_of_the_machine() {
        let about = About {
            host: Some([10, 0, 0, 7].into()),
            ..About::default()
        };
        let reach = |text: &str| about.reachable(text.parse().unwrap()).to_string();
        assert_eq!(reach("0.0.0.0:8080"), "10.0.0.7:8080");
        assert_eq!(reach("[::]:8080"), "10.0.0.7:8080");
        assert_eq!(reach("127.0.0.1:8080"), "127.0.0.1:8080");
    }
}
