//! From settings to a mesh that runs: identity, policy, and the tasks of a member with a control server.

use std::{
    net::{IpAddr, UdpSocket},
    time::Duration,
};

use mesh_core::{
    error::{ErrorKind, MeshError},
    name::ServiceName,
};
use mesh_tower::{
    Mesh,
    tls::{Credentials, reload_directory},
};

use super::{
    Join,
    backoff::Backoff,
    disk::Disk,
    identity::Joiner,
    member::Member,
    registration::{self, About},
    reports,
    settings::{Settings, Source, bad},
    subscription::{self, SharedMember},
};
use crate::{
    channel::{Channel, ControlAddr},
    pb::{
        discovery::{Locality, Node},
        policy::TrustBundle,
    },
    wire::TRUST_BUNDLE,
};

/// How long a process without any state of its own waits for the control server.
const FIRST_CONTACT: Duration = Duration::from_secs(30);

/// How long it waits, once it has an identity, to hear who may call it.
const FIRST_POLICY: Duration = Duration::from_secs(5);

impl Join {
    pub(super) async fn start(mut self, settings: Settings) -> Result<Mesh, MeshError> {
        let service = self.name(settings.service.as_deref(), self.env_service.as_deref())?;
        let namespace = self
            .namespace
            .clone()
            .unwrap_or_else(|| service.namespace().to_owned());
        let control = settings.control_addr()?;
        let disk = settings.state.as_deref().map(Disk::open).transpose()?;

        let credentials = Credentials::new();
        let mut builder = Mesh::builder(&service.to_string())
            .namespace(&namespace)
            .credentials(credentials.clone())
            .expect_feed(control.is_some());
        let about = About {
            labels: settings.labels,
            zone: settings.zone.unwrap_or_default(),
            weight: settings.weight.unwrap_or(1),
            priority: settings.priority.unwrap_or(0),
            ..About::default()
        };
        builder = builder.zone(&about.zone);
        if let Some(policy) = &settings.policy {
            builder = builder.policy_file(policy);
        }
        if let Some(adjust) = self.adjust.take() {
            builder = adjust(builder);
        }

        let mut reload = None;
        let mut token = None;
        match &settings.identity {
            Some(Source::Directory(dir)) => reload = Some(reload_directory(dir, &credentials)?),
            Some(Source::Token(text)) => token = Some(text.parse()?),
            Some(Source::TokenFile(path)) => token = Some(read_token(path)?.parse()?),
            None => {}
        }
        let Some(control) = control else {
            if token.is_some() {
                return Err(bad(
                    "a join token needs a control server: set MESH_CONTROL=https://host:7443",
                ));
            }
            let mesh = builder.build()?;
            if let Some(reload) = reload {
                mesh.spawn(reload);
            } else {
                tracing::warn!(target: "mesh::join", %service, "no identity: calls are in plaintext");
            }
            return Ok(mesh);
        };
        if token.is_none() && reload.is_none() {
            return Err(bad(
                "a control server needs an identity: set MESH_IDENTITY=token:PATH or dir:PATH",
            ));
        }

        let mesh = builder.build()?;
        if let Some(reload) = reload {
            mesh.spawn(reload);
        }
        let joiner = token.map(|token| Joiner {
            service: service.clone(),
            control: control.clone(),
            token,
            credentials: credentials.clone(),
            disk: disk.clone(),
        });
        self.connect(mesh, service, about, control, joiner, disk)
            .await
    }

    /// Starts the tasks of a member with a control server.
    async fn connect(
        self,
        mesh: Mesh,
        service: ServiceName,
        mut about: About,
        control: ControlAddr,
        joiner: Option<Joiner>,
        disk: Option<Disk>,
    ) -> Result<Mesh, MeshError> {
        let credentials = mesh.credentials().clone();
        let feed = mesh.feed();
        let instance = self.instance.clone().unwrap_or_else(instance_name);
        let node = Node {
            id: instance.clone(),
            cluster: service.to_string(),
            locality: Some(Locality {
                zone: about.zone.clone(),
                ..Default::default()
            }),
            user_agent_name: "mesh-grpc".into(),
            user_agent_version: env!("CARGO_PKG_VERSION").into(),
            ..Default::default()
        };
        feed.set_ready(false);
        let snapshot = disk.as_ref().map(Disk::snapshot).unwrap_or_default();
        let mut member = Member::new(service.clone(), feed.clone(), credentials.clone(), node);
        let mut restored = !snapshot.is_empty();
        if let Some(joiner) = &joiner {
            if joiner.restore(trust_in(&snapshot).as_ref()) {
                tracing::info!(target: "mesh::join", %service, "identity of the last run is still valid");
            } else {
                // Policy alone is of no use: without an identity nobody would be called.
                restored = false;
                member.trust(&first_identity(joiner).await?);
            }
        }
        let informed = member.informed();
        if restored {
            member.restore(snapshot);
        }
        let member = SharedMember::new(member);

        let channel = Channel::new(control.clone(), &credentials);
        mesh.spawn(subscription::run(
            member.clone(),
            feed.clone(),
            channel.clone(),
        ));
        if let Some(disk) = disk {
            mesh.spawn(subscription::save(member.clone(), disk));
        }
        about.instance.clone_from(&instance);
        about.host = own_address(&control);
        mesh.spawn(registration::run(
            about,
            feed.clone(),
            mesh.drain().clone(),
            channel.clone(),
        ));
        mesh.spawn(reports::run(
            mesh.downgrade(),
            member,
            service.clone(),
            instance,
            channel,
        ));
        if let Some(joiner) = joiner {
            mesh.spawn(joiner.renew());
        }
        if !restored {
            let mut informed = informed;
            let heard = informed.wait_for(|informed| *informed);
            if tokio::time::timeout(FIRST_POLICY, heard).await.is_err() {
                tracing::warn!(target: "mesh::join", %service, "no policy from the control server yet");
            }
        }
        feed.set_ready(true);
        Ok(mesh)
    }
}

fn read_token(path: &std::path::Path) -> Result<String, MeshError> {
    std::fs::read_to_string(path).map_err(|error| {
        bad(format!(
            "join token {} cannot be read: {error}",
            path.display()
        ))
    })
}

/// The first certificate. An unreachable control server may be on its way up; a refusal is final.
async fn first_identity(joiner: &Joiner) -> Result<TrustBundle, MeshError> {
    let give_up = tokio::time::Instant::now() + FIRST_CONTACT;
    let mut backoff = Backoff::default();
    loop {
        let error = match joiner.sign().await {
            Ok(trust) => return Ok(trust),
            Err(error) => error,
        };
        let wait = backoff.next();
        if error.kind() != ErrorKind::Connect || tokio::time::Instant::now() + wait > give_up {
            return Err(error);
        }
        tracing::debug!(target: "mesh::join", "not joined yet: {error}");
        tokio::time::sleep(wait).await;
    }
}

fn trust_in(snapshot: &[crate::pb::discovery::DeltaDiscoveryResponse]) -> Option<TrustBundle> {
    let trust = snapshot
        .iter()
        .find(|response| response.type_url == TRUST_BUNDLE)?;
    let content = &trust.resources.first()?.resource.as_ref()?.value;
    prost::Message::decode(content.as_slice()).ok()
}

/// The address that this machine would call the control server from. Nothing is sent.
fn own_address(control: &ControlAddr) -> Option<IpAddr> {
    let remote = control.to_string();
    let remote = remote.strip_prefix("https://")?;
    let socket = UdpSocket::bind(("0.0.0.0", 0))
        .or_else(|_| UdpSocket::bind(("::", 0)))
        .ok()?;
    socket.connect(remote).ok()?;
    socket.local_addr().ok().map(|addr| addr.ip())
}

/// Host name (a pod's name, where there are pods) and process id.
fn instance_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let pid = std::process::id();
    if host.is_empty() {
        pid.to_string()
    } else {
        format!("{host}-{pid}")
    }
}
