//! `meshctl explain SERVICE`: the policy in force, and the service that is meant.

use std::collections::BTreeSet;
use std::sync::Arc;

use mesh_core::name::{ServiceName, ServiceTarget};
use mesh_core::policy::spec::Resource;
use mesh_core::policy::text::closest;
use mesh_core::policy::validate::validate;
use mesh_core::policy::{self, Options, Snapshot, Source};
use mesh_grpc::pb::control as pb;
use mesh_grpc::wire;

use super::rows::Effective;
use super::source::Resources;
use super::text;
use crate::cli::args::Format;
use crate::cli::connect;
use crate::cli::failure::Failure;
use crate::cli::output::Output;

pub(super) async fn explain(
    control: &str,
    wanted: &str,
    format: Format,
    out: &mut Output,
) -> Result<u8, Failure> {
    let mut admin = connect::admin(control).await?;
    let answer = connect::ask(admin.policy(pb::PolicyRequest {})).await?;
    let live = connect::ask(admin.endpoints(pb::EndpointsRequest::default())).await?;
    let live = live.rows.iter().filter_map(|row| row.service.parse().ok());
    let policy = Policy::new(answer, live.collect())?;
    let effective = policy.effective(wanted)?;
    match format {
        Format::Json => out.json(&effective),
        Format::Text => out.text(&text::render(&effective)),
    }
    Ok(0)
}

/// The policy in force, built here from what the control server has.
pub(super) struct Policy {
    resources: Vec<Arc<Resource>>,
    snapshot: Snapshot,
    options: Options,
    /// Services with endpoints; they need no policy to exist.
    live: BTreeSet<ServiceName>,
}

impl Policy {
    pub(super) fn new(
        answer: pb::PolicyResponse,
        live: BTreeSet<ServiceName>,
    ) -> Result<Self, Failure> {
        let options = Options::whole().with_default_namespace(answer.default_namespace.as_str());
        let sources: Vec<Source> = answer
            .files
            .iter()
            .map(|file| Source::new(file.name.as_str(), file.text.as_str()))
            .collect();
        let checked = policy::check(&sources, &options);
        let same = |snapshot: &Snapshot| **snapshot.revision() == *answer.revision;
        if let Some(snapshot) = checked.snapshot.filter(same) {
            return Ok(Self {
                resources: checked.resources,
                snapshot,
                options,
                live,
            });
        }
        // Without the texts the same policy, with no places.
        let resources = wire::resources(answer.resources).map_err(|error| differs(&error))?;
        let (snapshot, _) =
            validate(&resources, &options, None).map_err(|errors| differs(&errors))?;
        Ok(Self {
            resources,
            snapshot,
            options,
            live,
        })
    }

    pub(super) fn effective(&self, wanted: &str) -> Result<Effective, Failure> {
        let name = self.find(wanted)?;
        let resources = Resources(&self.resources);
        if let Some(service) = self.snapshot.outbound().service(&name) {
            return Ok(Effective::new(&self.snapshot, resources, service));
        }
        // It has instances and no policy of its own; what holds for the mesh holds for it too.
        let options = self.options.clone().with_known_services([name.clone()]);
        let (snapshot, _) =
            validate(&self.resources, &options, None).map_err(|errors| differs(&errors))?;
        match snapshot.outbound().service(&name) {
            Some(service) => Ok(Effective::new(&snapshot, resources, service)),
            None => Err(self.unknown(wanted)),
        }
    }

    /// Any spelling; a bare name is looked for in every namespace, a port is left aside.
    fn find(&self, wanted: &str) -> Result<ServiceName, Failure> {
        let namespace = self.options.default_namespace();
        let text = match ServiceTarget::parse(wanted, namespace) {
            Ok(target) if target.port.is_some() => wanted.rsplit_once(':').map_or(wanted, |s| s.0),
            _ => wanted,
        };
        let host = self.snapshot.outbound().resolve_host(text, None);
        if let Some(service) = host.filter(|_| text.contains('.')) {
            return Ok(service.name().clone());
        }
        let known = self.known();
        if text.contains(['/', '.']) {
            let parsed = ServiceName::parse(text, namespace);
            let parsed = parsed.ok().filter(|name| known.contains(name));
            return parsed.ok_or_else(|| self.unknown(text));
        }
        let mut named = known.iter().filter(|name| name.name() == text);
        match (named.next(), named.next()) {
            (None, _) => Err(self.unknown(text)),
            (Some(only), None) => Ok(only.clone()),
            (Some(first), Some(second)) => Err(Failure::findings(
                format!(
                    "more than one service is named {text}: {}, {} [M1003]",
                    first.host(),
                    second.host()
                ),
                format!("meshctl explain {}", first.host()),
            )),
        }
    }

    fn known(&self) -> BTreeSet<ServiceName> {
        let services = self.snapshot.outbound().services();
        let services = services.map(|service| service.name().clone());
        services.chain(self.live.iter().cloned()).collect()
    }

    fn unknown(&self, text: &str) -> Failure {
        let known = self.known();
        let spelled = |name: &ServiceName| match text {
            _ if text.contains('/') => name.to_string(),
            _ if text.contains('.') => name.host(),
            _ => name.name().to_owned(),
        };
        let spellings: Vec<String> = known.iter().map(spelled).collect();
        let near = closest(text, spellings.iter().map(String::as_str));
        let near = near.and_then(|near| known.iter().find(|name| spelled(name) == near));
        match near {
            Some(name) => Failure::findings(
                format!(
                    "{text} is no service of the mesh; did you mean {}? [M1003]",
                    name.host()
                ),
                format!("meshctl explain {}", name.host()),
            ),
            None => Failure::findings(
                format!("{text} is no service of the mesh, and no code like M2003 [M1003]"),
                "meshctl endpoints shows the services with endpoints; meshctl explain lists codes",
            ),
        }
    }
}

fn differs(error: &dyn std::fmt::Display) -> Failure {
    Failure::findings(
        format!("this meshctl does not understand the policy in force: {error} [M3000]"),
        "use the meshctl of the control server's version",
    )
}
