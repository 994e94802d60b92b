use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::Options;
use super::findings::Findings;
use crate::error::Code;
use crate::name::{ServiceName, check_label};
use crate::policy::spec::{Kind, ParentRef, Resource, ResourceId, Service};
use crate::policy::text::closest;

/// With more services than this nobody's spelling is compared: each comparison takes time, and the
/// number of names to compare with each other is the text's to choose.
const SUGGEST: usize = 2000;

/// The resources by what they are.
pub(super) struct Index<'a> {
    pub(super) options: &'a Options,
    pub(super) resources: BTreeMap<ResourceId, &'a Arc<Resource>>,
    /// Services that resources define.
    pub(super) services: BTreeMap<ServiceName, &'a Resource>,
    /// Services that are there because a route is attached to them, or because they are known.
    pub(super) implied: BTreeSet<ServiceName>,
    hints: RefCell<HashMap<ServiceName, Option<String>>>,
}

/// Why a name refers to nothing.
pub(super) struct Dangling {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl<'a> Index<'a> {
    pub(super) fn new(
        resources: &'a [Arc<Resource>],
        options: &'a Options,
        findings: &mut Findings,
    ) -> Self {
        let mut index = Self {
            options,
            resources: BTreeMap::new(),
            services: BTreeMap::new(),
            implied: options.known().clone(),
            hints: RefCell::default(),
        };
        let mut first: HashMap<ResourceId, &Resource> = HashMap::new();
        for resource in resources {
            let id = resource.id();
            if let Some(first) = first.get(&id) {
                findings
                    .error(
                        resource,
                        "metadata.name",
                        Code::POLICY_DUPLICATE_NAME,
                        format!("{id} is given twice"),
                    )
                    .related(first, "metadata.name")
                    .help("one resource of a kind has a name; put both into one, or rename one");
                continue;
            }
            first.insert(id.clone(), resource);
            names(resource, findings);
            if let (Resource::Service(_), Ok(name)) =
                (&**resource, ServiceName::new(&id.namespace, &id.name))
            {
                index.services.insert(name, resource);
            }
            index.resources.insert(id, resource);
        }
        for resource in resources {
            for parent in parents(resource) {
                let namespace = parent.namespace.as_ref();
                let namespace = namespace.unwrap_or(&resource.metadata().namespace);
                if let Ok(name) = ServiceName::new(namespace, &parent.name)
                    && !index.services.contains_key(&name)
                    && index.misspelt(&name).is_none()
                {
                    index.implied.insert(name);
                }
            }
        }
        index
    }

    /// The definition of a service.
    pub(super) fn service(&self, name: &ServiceName) -> Option<&'a Service> {
        match self.services.get(name) {
            Some(Resource::Service(service)) => Some(service),
            _ => None,
        }
    }

    /// Whether something may refer to the service.
    pub(super) fn check(&self, name: &ServiceName) -> Result<(), Dangling> {
        let id = ResourceId {
            kind: Kind::Service,
            namespace: name.namespace().to_owned(),
            name: name.name().to_owned(),
        };
        if self.services.contains_key(name)
            || self.implied.contains(name)
            || self.options.is_partial()
            || self.options.broken().contains(&id)
        {
            return Ok(());
        }
        Err(Dangling {
            message: format!("service `{name}` is not defined"),
            hint: self.hint(name),
        })
    }

    /// What was probably meant; found once for each name, however often it is written.
    fn hint(&self, name: &ServiceName) -> Option<String> {
        if self.services.len() + self.implied.len() > SUGGEST {
            return None;
        }
        if let Some(hint) = self.hints.borrow().get(name) {
            return hint.clone();
        }
        let known = self.services.keys().chain(&self.implied);
        let here = known.clone().filter(|s| s.namespace() == name.namespace());
        let hint = match closest(name.name(), here.map(ServiceName::name)) {
            Some(near) => Some(format!("did you mean `{near}`?")),
            None => known
                .clone()
                .find(|s| s.name() == name.name())
                .map(|s| format!("did you mean `{}` of `{}`?", s.name(), s.namespace())),
        };
        self.hints.borrow_mut().insert(name.clone(), hint.clone());
        hint
    }

    /// A defined service whose name is nearly this one, but not another of a numbered series
    /// (`reviews-v1` and `reviews-v2` are no misspellings of each other).
    fn misspelt(&self, name: &ServiceName) -> Option<&ServiceName> {
        let many = self.services.len() > SUGGEST;
        if many || self.options.is_partial() || self.implied.contains(name) {
            return None;
        }
        let strip = |s: &str| s.replace(|c: char| c.is_ascii_digit(), "");
        let candidates = self
            .services
            .keys()
            .filter(|s| s.namespace() == name.namespace() && strip(s.name()) != strip(name.name()));
        let near = closest(name.name(), candidates.map(ServiceName::name))?;
        self.services.keys().find(|s| s.name() == near)
    }
}

/// What a route is attached to.
pub(super) fn parents(resource: &Resource) -> &[ParentRef] {
    match resource {
        Resource::HttpRoute(route) => &route.spec.parent_refs,
        Resource::GrpcRoute(route) => &route.spec.parent_refs,
        _ => &[],
    }
}

/// Names and labels.
fn names(resource: &Resource, findings: &mut Findings) {
    let metadata = resource.metadata();
    for (path, text) in [
        ("metadata.name", &metadata.name),
        ("metadata.namespace", &metadata.namespace),
    ] {
        if let Err(why) = check_label(text) {
            let message = format!("`{text}` is no name: {why}");
            findings.error(resource, path, Code::POLICY_NAME, message);
        }
    }
    for (key, value) in &metadata.labels {
        label(
            resource,
            &format!("metadata.labels.{key}"),
            key,
            value,
            findings,
        );
    }
}

/// Checks a label (as Kubernetes has them).
pub(super) fn label(
    resource: &Resource,
    path: &str,
    key: &str,
    value: &str,
    findings: &mut Findings,
) {
    let fits = |text: &str, most: usize, more: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c) || more.contains(c);
        text.len() <= most
            && text.chars().all(plain)
            && !text.starts_with(['-', '_', '.', '/'])
            && !text.ends_with(['-', '_', '.', '/'])
    };
    if key.is_empty() || !fits(key, 317, "/") || !fits(value, 63, "") {
        let message = format!("`{key}: {value}` is no label");
        findings
            .error(resource, path, Code::POLICY_NAME, message)
            .help("letters, digits, `-`, `_` and `.`; a value has at most 63 characters");
    }
}
