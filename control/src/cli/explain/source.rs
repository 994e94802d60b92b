//! Where a value comes from: the resource that sets it, with file and line, or the default.

use std::fmt;
use std::sync::Arc;

use mesh_core::name::ServiceName;
use mesh_core::policy::model::Route;
use mesh_core::policy::spec::{Kind, Resource, ResourceId};
use serde::Serialize;
use serde_json::Value;

/// So much of a file's name is shown whatever the room.
const FILE_WIDTH: usize = 12;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Source {
    /// Such as `HTTPRoute shop/reviews rule 0`, or `default`.
    pub(super) source: String,
    pub(super) file: Option<String>,
    pub(super) line: Option<u32>,
}

/// A value that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Setting {
    /// As in a policy text.
    pub(super) name: String,
    pub(super) value: String,
    pub(super) from: Source,
}

/// The resources of the policy in force.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resources<'a>(pub(super) &'a [Arc<Resource>]);

// === impl Source ===

impl Source {
    pub(super) fn default() -> Self {
        Self {
            source: "default".to_owned(),
            file: None,
            line: None,
        }
    }

    /// A place within a resource, such as `spec.rules[0]`.
    fn at(resource: &Resource, path: &str) -> Self {
        let place = resource.provenance().origin().map(|o| o.locate(path));
        Self {
            source: resource.id().to_string(),
            line: place.as_ref().map(|place| place.line),
            file: place.map(|place| place.file.to_string()),
        }
    }

    pub(super) fn of(resource: &Resource) -> Self {
        Self::at(resource, "")
    }

    /// As text of at most about `width` columns: of a long path the end is shown.
    pub(super) fn within(&self, width: usize) -> String {
        let (Some(file), Some(line)) = (&self.file, self.line) else {
            return self.source.clone();
        };
        let around = format!("{} (:{line})", self.source);
        let room = width.saturating_sub(around.chars().count()).max(FILE_WIDTH);
        let length = file.chars().count();
        if length <= room {
            return format!("{} ({file}:{line})", self.source);
        }
        let end: String = file.chars().skip(length - room + 1).collect();
        let whole = end.find('/').map_or(end.as_str(), |at| &end[at..]);
        format!("{} (…{whole}:{line})", self.source)
    }

    fn rule(mut self, rule: usize) -> Self {
        self.source = format!("{} rule {rule}", self.source);
        self
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.within(usize::MAX))
    }
}

// === impl Resources ===

impl<'a> Resources<'a> {
    pub(super) fn find(&self, id: &ResourceId) -> Option<&'a Resource> {
        self.0.iter().map(|each| &**each).find(|r| r.id() == *id)
    }

    /// The definition of a service.
    pub(super) fn service(&self, name: &ServiceName) -> Option<&'a Resource> {
        self.find(&ResourceId {
            kind: Kind::Service,
            namespace: name.namespace().to_owned(),
            name: name.name().to_owned(),
        })
    }

    /// Where the policy `origin`, which sets a top-level field, sets `field` of it, such as
    /// `outlierDetection.interval`. What it leaves out has its default.
    pub(super) fn of_field(&self, origin: Option<&ResourceId>, field: &str) -> Source {
        let path = format!("spec.{field}");
        match origin.and_then(|id| self.find(id)) {
            Some(policy) if is_set(policy, &path) => Source::at(policy, &path),
            _ => Source::default(),
        }
    }

    /// Where a rule sets `field`, such as `timeouts.request`.
    pub(super) fn of_rule(&self, route: &Route, field: &str) -> Source {
        let origin = route.origin();
        let Some(resource) = origin.resource().and_then(|id| self.find(id)) else {
            return Source::default();
        };
        let path = match field {
            "" => format!("spec.rules[{}]", origin.rule()),
            _ => format!("spec.rules[{}].{field}", origin.rule()),
        };
        match is_set(resource, &path) {
            true => Source::at(resource, &path).rule(origin.rule()),
            false => Source::default(),
        }
    }
}

/// What is left out of a resource is left out of its serde form.
fn is_set(resource: &Resource, path: &str) -> bool {
    let Ok(tree) = serde_json::to_value(resource) else {
        return false;
    };
    let steps = path.split(['.', '[']).filter(|step| !step.is_empty());
    let mut steps = std::iter::once(resource.kind().as_str()).chain(steps);
    steps
        .try_fold(&tree, |value: &Value, step| match step.strip_suffix(']') {
            Some(position) => value.get(position.parse::<usize>().ok()?),
            None => value.get(step),
        })
        .is_some()
}
