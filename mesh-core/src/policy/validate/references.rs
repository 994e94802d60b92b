//! What routes refer to: the service that they are attached to, and those that they send to.

use super::backends::Backends;
use super::extensions::Extensions;
use super::findings::Findings;
use super::index::Index;
use crate::error::Code;
use crate::name::ServiceName;
use crate::policy::spec::{BackendRef, ParentRef, Resource};

/// What a rule's parts are compiled in.
pub(super) struct RuleCx<'a> {
    pub(super) resource: &'a Resource,
    pub(super) index: &'a Index<'a>,
    pub(super) extensions: &'a Extensions,
}

impl RuleCx<'_> {
    /// The service and port that a backendRef means.
    pub(super) fn reference(
        &self,
        at: &str,
        backend: &BackendRef,
        backends: &mut Backends<'_>,
        findings: &mut Findings,
    ) -> Option<(ServiceName, Option<u16>)> {
        let kind = backend.kind.as_deref().unwrap_or("Service");
        if kind != "Service"
            || backend
                .group
                .as_deref()
                .is_some_and(|g| !matches!(g, "" | "core"))
        {
            let message = format!("calls go to a Service, not to {kind}");
            findings.error(
                self.resource,
                format!("{at}.kind"),
                Code::POLICY_REFERENCE,
                message,
            );
            return None;
        }
        let service = reference(
            self.resource,
            at,
            backend.namespace.as_deref(),
            &backend.name,
            self.index,
            findings,
        )?;
        check_port(
            self.resource,
            at,
            &service,
            backend.port,
            backends,
            findings,
        );
        Some((service, backend.port))
    }
}

pub(super) fn parent(
    resource: &Resource,
    n: usize,
    parent: &ParentRef,
    index: &Index<'_>,
    backends: &mut Backends<'_>,
    findings: &mut Findings,
) -> Option<(ServiceName, Option<u16>)> {
    let at = format!("spec.parentRefs[{n}]");
    let kind = parent.kind.as_deref().unwrap_or("Service");
    if kind != "Service"
        || parent
            .group
            .as_deref()
            .is_some_and(|g| !matches!(g, "" | "core"))
    {
        let message = format!("a route is attached to a Service, not to {kind}");
        findings
            .error(
                resource,
                format!("{at}.kind"),
                Code::POLICY_REFERENCE,
                message,
            )
            .help("use group: \"\" and kind: Service");
        return None;
    }
    if parent.section_name.is_some() {
        let message = "a Service has no sections; use `port`";
        findings.error(
            resource,
            format!("{at}.sectionName"),
            Code::POLICY_RANGE,
            message,
        );
    }
    let service = reference(
        resource,
        &at,
        parent.namespace.as_deref(),
        &parent.name,
        index,
        findings,
    )?;
    check_port(resource, &at, &service, parent.port, backends, findings);
    Some((service, parent.port))
}

fn reference(
    resource: &Resource,
    at: &str,
    namespace: Option<&str>,
    name: &str,
    index: &Index<'_>,
    findings: &mut Findings,
) -> Option<ServiceName> {
    let namespace = namespace.unwrap_or(&resource.metadata().namespace);
    match ServiceName::new(namespace, name) {
        Err(error) => {
            let at = format!("{at}.name");
            findings.error(resource, at, Code::POLICY_NAME, error.to_string());
            None
        }
        Ok(service) => match index.check(&service) {
            Ok(()) => Some(service),
            Err(dangling) => {
                findings
                    .error(
                        resource,
                        format!("{at}.name"),
                        Code::POLICY_REFERENCE,
                        dangling.message,
                    )
                    .maybe_hint(dangling.hint)
                    .help(format!(
                        "define it, for example: service: {service}, endpoints: {{ registered: {{}} }}"
                    ));
                None
            }
        },
    }
}

fn check_port(
    resource: &Resource,
    at: &str,
    service: &ServiceName,
    port: Option<u16>,
    backends: &mut Backends<'_>,
    findings: &mut Findings,
) {
    let Some(port) = port else { return };
    let ports = &backends.service(service).ports;
    if ports.is_empty() || ports.iter().any(|p| p.number == port) {
        return;
    }
    let known: Vec<String> = ports.iter().map(|p| p.number.to_string()).collect();
    findings
        .error(
            resource,
            format!("{at}.port"),
            Code::POLICY_REFERENCE,
            format!("service `{service}` has no port {port}"),
        )
        .hint(format!("it has: {}", known.join(", ")));
}
