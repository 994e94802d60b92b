//! Whether everything that a scenario speaks of is there.

use std::collections::BTreeSet;

use mesh_core::name::ServiceName;
use mesh_core::policy::text::{Source, closest, load_in};

use super::run::NAMESPACE;
use super::{Change, Figure, Scenario, SimError};

/// Services by their full name, and hosts as the run calls them.
struct Names {
    services: BTreeSet<String>,
    hosts: BTreeSet<String>,
}

/// Looks up each name; the first that nobody has is the error.
pub(super) fn check(scenario: &Scenario) -> Result<(), SimError> {
    let names = Names::of(scenario)?;
    policy(&scenario.policy, "policy".to_owned())?;
    for service in &scenario.services {
        for (index, to) in service.calls.iter().enumerate() {
            names.service(to, format!("services.{}.calls[{index}]", service.name))?;
        }
    }
    for (index, load) in scenario.loads.iter().enumerate() {
        names.service(&load.to, format!("load[{index}].to"))?;
    }
    for (index, (_, change)) in scenario.changes.iter().enumerate() {
        match change {
            Change::Behave { host, .. } | Change::Heal { host } => {
                names.host(host, format!("events[{index}].host"))?;
            }
            Change::Discovered { host, .. } => {
                names.host(host, format!("events[{index}].host"))?;
            }
            Change::Rate { load, .. } if *load >= scenario.loads.len() => {
                let message = format!("there is no load {load}");
                let next = format!(
                    "loads are counted from 0 to {}",
                    scenario.loads.len().max(1) - 1
                );
                return Err(SimError::at(format!("events[{index}].load"), message).next(next));
            }
            Change::Rate { .. } => {}
            Change::Policy { text } => policy(text, format!("events[{index}].policy"))?,
        }
    }
    for (index, expect) in scenario.expects.iter().enumerate() {
        match &expect.figure {
            Figure::Share(host)
            | Figure::Amplification(host)
            | Figure::Out(host)
            | Figure::Back(host)
            | Figure::Returning(host)
            | Figure::Peak(host) => names.host(host, format!("expect[{index}].of"))?,
            Figure::Success(_) | Figure::Latency(_) | Figure::Goodput | Figure::Metric(_) => {}
        }
    }
    Ok(())
}

/// The mistakes of a policy in itself; what it says of services that are not there is found when it
/// comes into force.
fn policy(text: &str, path: String) -> Result<(), SimError> {
    let source = Source::new("policy", text);
    let loaded = load_in(std::slice::from_ref(&source), NAMESPACE);
    if loaded.diagnostics.0.is_empty() {
        return Ok(());
    }
    let shown = loaded.diagnostics.render(&[source]);
    let next = "lines above are counted from the beginning of the policy";
    Err(SimError::at(path, shown.trim_end().to_owned()).next(next))
}

impl Names {
    fn of(scenario: &Scenario) -> Result<Self, SimError> {
        let (mut services, mut hosts) = (BTreeSet::new(), BTreeSet::new());
        for service in &scenario.services {
            let path = || format!("services.{}", service.name);
            let name = ServiceName::parse(&service.name, NAMESPACE)
                .map_err(|error| SimError::at(path(), error.to_string()))?;
            hosts.insert(name.name().to_owned());
            hosts.insert(name.to_string());
            let each = (0..service.hosts.len()).map(|index| format!("{}#{index}", name.name()));
            hosts.extend(each);
            services.insert(name.to_string());
        }
        Ok(Self { services, hosts })
    }

    fn service(&self, text: &str, path: String) -> Result<(), SimError> {
        let name = ServiceName::parse(text, NAMESPACE)
            .map_err(|error| SimError::at(path.clone(), error.to_string()))?
            .to_string();
        if self.services.contains(&name) {
            return Ok(());
        }
        let message = format!("there is no service {name} in this scenario");
        Err(SimError::at(path, message).next(hint(&name, &self.services, "services")))
    }

    fn host(&self, text: &str, path: String) -> Result<(), SimError> {
        if self.hosts.contains(text) {
            return Ok(());
        }
        let message = format!("there is no host or service {text} in this scenario");
        Err(SimError::at(path, message).next(hint(text, &self.hosts, "hosts")))
    }
}

fn hint(wrong: &str, known: &BTreeSet<String>, what: &str) -> String {
    match closest(wrong, known.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => {
            let some: Vec<&str> = known.iter().map(String::as_str).take(8).collect();
            format!("{what}: {}", some.join(", "))
        }
    }
}
