//! The policy, who follows it, and who is there.

use std::time::Duration;

use mesh_grpc::pb::control as pb;

use super::Observed;
use super::finding::{error, host, ok, seconds, warning};
use crate::cli::table::plural;

/// A client may take so long to confirm an update before it is told about.
const BEHIND_AFTER: Duration = Duration::from_secs(5);

pub(super) fn policy(seen: &Observed, found: &mut Vec<pb::Finding>) {
    match &seen.refused {
        Some(refused) => found.push(error(
            &refused.code,
            "policy directory",
            format!(
                "{} errors, revision {} stays in force; first: {}",
                refused.errors, seen.revision, refused.first
            ),
            "correct the file; meshctl policy check FILE shows every error",
        )),
        None => found.push(ok(
            "policy",
            format!(
                "revision {}, {}, {}",
                seen.revision,
                plural(seen.resources, "resource"),
                plural(seen.warnings, "warning")
            ),
        )),
    }
}

pub(super) fn clients(seen: &Observed, found: &mut Vec<pb::Finding>) {
    let before = found.len();
    for client in &seen.clients {
        for nack in &client.nacks {
            found.push(error(
                "M5002",
                &client.name,
                format!(
                    "refused an update and runs revision {}: {nack}",
                    client.revision
                ),
                "meshctl clients; update the client or take the change back",
            ));
        }
        let late = client.behind_for.filter(|time| *time > BEHIND_AFTER);
        if let (Some(time), true) = (late, client.nacks.is_empty()) {
            found.push(warning(
                "M5004",
                &client.name,
                format!(
                    "has not confirmed the current revision for {}",
                    seconds(time)
                ),
                "look at the process's log; it may be stuck or its connection slow",
            ));
        }
    }
    if found.len() == before {
        let text = format!(
            "{} connected, all on the current revision",
            seen.clients.len()
        );
        found.push(ok("clients", text));
    }
}

pub(super) fn registry(seen: &Observed, found: &mut Vec<pb::Finding>) {
    for gone in &seen.lost {
        found.push(error(
            "M5001",
            &format!("{} {}", gone.service, gone.addr),
            format!(
                "instance {} vanished: lease lost {} ago",
                gone.instance,
                seconds(gone.time)
            ),
            &format!(
                "start it again, or look at its log; meshctl endpoints {}",
                host(&gone.service)
            ),
        ));
    }
    for gone in &seen.orphans {
        found.push(warning(
            "M5001",
            &format!("{} {}", gone.service, gone.addr),
            format!(
                "instance {} closed its stream without a word; its lease ends in {}",
                gone.instance,
                seconds(gone.time)
            ),
            &format!("meshctl endpoints {}", host(&gone.service)),
        ));
    }
    if seen.lost.is_empty() && seen.orphans.is_empty() {
        found.push(ok("registry", format!("{} live instances", seen.instances)));
    }
}
