//! The ways to an end: all applications together, each in order.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use mesh_tower::Mesh;
use mesh_tower::drain::Timing;
use mesh_tower::telemetry::Tracing;
use rustix::process::Signal;

use super::member::Member;
use super::{Shim, ended};
use crate::error::ShimError;
use crate::supervise::{Exit, Received};

/// With the application gone, answers that are on their way may still take this long.
const LEAVE_WITHIN: Duration = Duration::from_millis(500);

/// What is left of traces goes out, of all applications at a time: a collector that does not answer holds
/// the end up for 3 s, and not as often as there are applications. Not on this thread, which drives the
/// exporters' connections: left to the drop of the meshes, nothing would leave.
pub(super) async fn send_spans(members: &[Member]) {
    let meshes = members.iter().filter_map(|member| member.mesh.as_ref());
    let tracings = meshes.map(|mesh| mesh.recorder().tracing().clone());
    let ends = tracings
        .filter(Tracing::is_enabled)
        .map(|one| tokio::task::spawn_blocking(move || one.end()));
    join_all(ends).await;
}

impl Shim<'_> {
    /// Those that have joined.
    fn meshes(&self) -> Vec<Mesh> {
        let members = self.members.iter();
        members.filter_map(|member| member.mesh.clone()).collect()
    }

    /// Nobody is announced, and nobody starts, any more.
    fn take_back(&mut self) {
        self.starting.clear();
        for member in &mut self.members {
            member.announced = None;
        }
    }

    /// Out of the mesh at once: there is no application that could serve what is in flight.
    pub(super) async fn leave(&mut self) {
        self.take_back();
        self.kept.let_go();
        let meshes = self.meshes();
        for mesh in &meshes {
            mesh.drain().set_timing(Timing {
                unready: Duration::ZERO,
                in_flight: LEAVE_WITHIN,
            });
        }
        join_all(meshes.iter().map(Mesh::shutdown)).await;
    }

    /// A successor accepts: what is in flight ends, and the registry hears nothing of it. An application
    /// that the successor does not speak for leaves as at any stop.
    pub(super) async fn hand_over(&mut self, used: &BTreeSet<String>) {
        tracing::info!("a successor is ready: draining");
        self.pages.close();
        self.starting.clear();
        for member in &mut self.members {
            let Some(mesh) = &member.mesh else { continue };
            let is_known = member.announced.is_some();
            if !is_known || used.contains(&format!("inbound {}", member.name)) {
                mesh.hand_over();
                mesh.drain().set_timing(Timing {
                    unready: Duration::ZERO,
                    in_flight: self.config.drain.in_flight,
                });
            } else {
                member.announced = None;
            }
        }
        join_all(self.meshes().iter().map(Mesh::shutdown)).await;
    }

    /// In order: out of the mesh, then the application.
    pub(super) async fn drain(&mut self, first: Signal) -> Result<Exit, ShimError> {
        self.take_back();
        let (meshes, kept) = (self.meshes(), self.kept.clone());
        let draining = async {
            for mesh in &meshes {
                mesh.drain().start();
            }
            if let Some(one) = meshes.first() {
                one.drain().draining().await;
            }
            // As long as a copy is open, the kernel completes connections that nobody accepts.
            kept.let_go();
            join_all(meshes.iter().map(Mesh::shutdown)).await;
        };
        tokio::pin!(draining);
        let mut signal = first;
        loop {
            tokio::select! {
                biased;
                exit = ended(&mut self.child) => return Ok(exit),
                () = draining.as_mut() => break,
                received = self.signals.next() => match received {
                    // Asked twice: no more patience.
                    Received::Stop(second) => {
                        signal = second;
                        break;
                    }
                    Received::Pass(signal) => {
                        if let Some(child) = &self.child {
                            child.signal(signal);
                        }
                    }
                },
            }
        }
        let Some(child) = &mut self.child else {
            return Ok(Exit::Code(0));
        };
        child.signal(signal);
        loop {
            tokio::select! {
                biased;
                exit = child.wait() => return Ok(exit),
                received = self.signals.next() => {
                    let (Received::Stop(signal) | Received::Pass(signal)) = received;
                    child.signal(signal);
                }
            }
        }
    }
}
