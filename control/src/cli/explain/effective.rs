//! What holds for a service, read from the snapshot.

use std::collections::BTreeSet;
use std::sync::Arc;

use mesh_core::name::ServiceName;
use mesh_core::policy::defaults;
use mesh_core::policy::model::{
    AccessMode, Backend, BackendIx, MtlsMode, Route, Service, Snapshot,
};
use mesh_core::policy::spec::Resource;

use super::inbound;
use super::knobs::knobs;
use super::rows::{Access, BackendRow, Backends, Effective, RouteSettings, Step, Table, Target};
use super::source::{Resources, Setting, Source};
use super::words;

impl Effective {
    pub(super) fn new(snapshot: &Snapshot, resources: Resources<'_>, service: &Service) -> Self {
        let name = service.name();
        let cx = Cx {
            snapshot,
            resources,
        };
        let tables = cx.tables(service);
        let mut routes: Vec<Arc<Route>> = Vec::new();
        for (_, route) in service.all_routes() {
            let same = |r: &Arc<Route>| r.name() == route.name() && r.origin() == route.origin();
            if !routes.iter().any(same) {
                routes.push(route.clone());
            }
        }
        let mut used: Vec<BackendIx> = Vec::new();
        for target in routes.iter().flat_map(|route| route.split().targets()) {
            if !used.contains(&target.backend()) {
                used.push(target.backend());
            }
        }
        Self {
            service: name.to_string(),
            revision: snapshot.revision().to_string(),
            defined: resources.service(name).map(Source::of),
            tables,
            routes: routes.iter().map(|route| cx.route(route)).collect(),
            backends: cx.backends(&used),
            access: cx.access(name),
            transport: cx.transport(name, &cx.ports(service)),
            inbound: cx.inbound(name),
            notes: cx.notes(service),
        }
    }
}

/// What the rows are made from.
struct Cx<'a> {
    snapshot: &'a Snapshot,
    resources: Resources<'a>,
}

impl Cx<'_> {
    fn backend(&self, ix: BackendIx) -> Option<&Arc<Backend>> {
        self.snapshot.outbound().backend(ix)
    }

    /// The ports that the service has, or that a route names.
    fn ports(&self, service: &Service) -> BTreeSet<u16> {
        let own = self.snapshot.outbound().backends().iter();
        let own = own.filter(|backend| backend.service() == service.name());
        let of_routes = service.all_routes().iter().filter_map(|(port, _)| *port);
        own.filter_map(|backend| backend.port())
            .chain(of_routes)
            .collect()
    }

    fn tables(&self, service: &Service) -> Vec<Table> {
        let ports = self.ports(service);
        if ports.is_empty() {
            let steps = self.steps(service, None);
            let ports = Vec::new();
            return vec![Table { ports, steps }];
        }
        let mut tables: Vec<Table> = Vec::new();
        for port in ports {
            let steps = self.steps(service, Some(port));
            match tables.iter_mut().find(|table| table.steps == steps) {
                Some(table) => table.ports.push(port),
                None => tables.push(Table {
                    ports: vec![port],
                    steps,
                }),
            }
        }
        tables
    }

    fn steps(&self, service: &Service, port: Option<u16>) -> Vec<Step> {
        let table = service.routes(port);
        let steps = table.steps().map(|step| {
            let targets = step.route.split().targets().iter().map(|target| Target {
                backend: self
                    .backend(target.backend())
                    .map_or_else(String::new, |backend| backend.key().to_string()),
                weight: target.weight(),
            });
            Step {
                condition: words::condition(step.host, step.condition),
                targets: targets.collect(),
                redirect: step.route.redirect().map(words::redirect),
                route: step.route.name().to_string(),
                from: self.resources.of_rule(step.route, ""),
            }
        });
        steps.collect()
    }

    fn route(&self, route: &Route) -> RouteSettings {
        let setting = |name: &str, value: String| Setting {
            name: name.to_owned(),
            value,
            from: self.resources.of_rule(route, name),
        };
        let timeouts = route.timeouts();
        let mut settings = vec![
            setting("timeouts.request", words::limit(timeouts.request())),
            setting("timeouts.backendRequest", words::limit(timeouts.attempt())),
        ];
        match route.retry() {
            Some(retry) => {
                let codes: Vec<_> = retry.codes().iter().map(u16::to_string).collect();
                let codes = match codes.is_empty() {
                    true => "none".to_owned(),
                    false => codes.join(" "),
                };
                settings.extend([
                    setting("retry.attempts", retry.attempts().to_string()),
                    setting("retry.codes", codes),
                    setting("retry.backoff", words::time(retry.backoff())),
                    setting("retry.nonIdempotent", retry.non_idempotent().to_string()),
                ]);
            }
            None => settings.push(setting(
                "retry.attempts",
                format!("{}, if not processed", defaults::TRANSPARENT_RETRIES),
            )),
        }
        let filters = route.filters().iter();
        RouteSettings {
            route: route.name().to_string(),
            from: self.resources.of_rule(route, ""),
            settings,
            filters: filters
                .map(words::filter)
                .chain(words::extras(route, self.snapshot))
                .collect(),
        }
    }

    fn backends(&self, used: &[BackendIx]) -> Vec<Backends> {
        let mut groups: Vec<Backends> = Vec::new();
        for ix in used {
            let Some(backend) = self.backend(*ix) else {
                continue;
            };
            let settings = self.backend_settings(backend);
            let row = BackendRow {
                name: backend.key().to_string(),
                protocol: words::protocol(backend.app_protocol()),
                tls: words::tls(backend.tls()),
                endpoints: words::endpoints(backend),
            };
            match groups.iter_mut().find(|group| group.settings == settings) {
                Some(group) => group.backends.push(row),
                None => groups.push(Backends {
                    backends: vec![row],
                    settings,
                }),
            }
        }
        groups
    }

    fn backend_settings(&self, backend: &Backend) -> Vec<Setting> {
        let setting = |(name, value): (&str, String)| {
            let top = name.split('.').next().unwrap_or(name);
            Setting {
                name: name.to_owned(),
                value,
                from: self.resources.of_field(backend.origin(top), name),
            }
        };
        knobs(backend).into_iter().map(setting).collect()
    }

    fn access(&self, name: &ServiceName) -> Access {
        let model = self.snapshot.inbound().access_for(name);
        let policy = model.origin().and_then(|id| self.resources.find(id));
        Access {
            mode: match model.mode() {
                AccessMode::Open => "open",
                AccessMode::Audit => "audit",
                AccessMode::Enforce => "enforce",
            },
            allow: model.rules().iter().map(words::rule).collect(),
            from: policy.map_or_else(Source::default, Source::of),
        }
    }

    fn transport(&self, name: &ServiceName, ports: &BTreeSet<u16>) -> Vec<Setting> {
        let model = self.snapshot.inbound().transport_for(name);
        let setting = |name: &str, value: String| Setting {
            name: name.to_owned(),
            value,
            from: self.resources.of_field(model.origin(name), name),
        };
        let mode = |mode: MtlsMode| mode.to_string();
        let mut settings = vec![setting("mtls", mode(model.mtls(None)))];
        for port in ports {
            let Some(origin) = model.port_origin(*port) else {
                continue;
            };
            settings.push(Setting {
                name: format!("mtls, port {port}"),
                value: mode(model.mtls(Some(*port))),
                from: self.resources.of_field(Some(origin), "mtls"),
            });
        }
        settings.push(setting("minTlsVersion", model.min_version().to_string()));
        if !model.trust_domains().is_empty() {
            settings.push(setting("trustDomains", model.trust_domains().join(" ")));
        }
        if !model.exceptions().is_empty() {
            let count = model.exceptions().len().to_string();
            settings.push(setting("exceptions", count));
        }
        settings
    }

    fn inbound(&self, name: &ServiceName) -> Vec<Setting> {
        let model = self.snapshot.inbound().traffic_for(name);
        let setting = |(name, value): (String, String)| {
            let top = name.split(['.', ' ', '[']).next().unwrap_or(&name);
            // A limit is known by its name: its place is the list's.
            let path = name.split(' ').next().unwrap_or(&name);
            let path = format!("inbound.{path}");
            let from = self.resources.of_field(model.origin(top), &path);
            Setting { name, value, from }
        };
        inbound::knobs(&model).into_iter().map(setting).collect()
    }

    /// Routes of callers' namespaces, which hold for these callers alone.
    fn notes(&self, service: &Service) -> Vec<String> {
        let mut notes = Vec::new();
        if service.is_implicit() {
            notes.push("no Service resource defines it: its instances register themselves".into());
        }
        let name = service.name();
        for resource in self.resources.0 {
            let parents = match &**resource {
                Resource::HttpRoute(route) => &route.spec.parent_refs,
                Resource::GrpcRoute(route) => &route.spec.parent_refs,
                _ => continue,
            };
            let own = resource.metadata().namespace.as_str();
            let here = parents.iter().any(|parent| {
                parent.name == name.name()
                    && parent.namespace.as_deref().unwrap_or(own) == name.namespace()
            });
            if here && own != name.namespace() {
                let from = Source::of(resource);
                notes.push(format!(
                    "for callers of namespace {own} other routes hold: {from}"
                ));
            }
        }
        notes
    }
}
