use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use crate::name::ServiceName;
use crate::policy::spec::ResourceId;

/// What the validator knows besides the resources.
#[derive(Clone, Debug)]
pub struct Options {
    partial: bool,
    known: BTreeSet<ServiceName>,
    local: Option<ServiceName>,
    namespace: Arc<str>,
    broken: HashSet<ResourceId>,
}

impl Options {
    /// The resources are all there are: a reference to anything else is an error. For the control
    /// server and for checking files.
    pub fn whole() -> Self {
        Self {
            partial: false,
            known: BTreeSet::new(),
            local: None,
            namespace: "default".into(),
            broken: HashSet::new(),
        }
    }

    /// The resources are a part of the mesh: a service that is referred to and not defined is one
    /// whose instances register themselves. For clients.
    pub fn partial() -> Self {
        Self {
            partial: true,
            ..Self::whole()
        }
    }

    /// Services that exist although no resource defines them, such as those with registered
    /// instances.
    #[must_use]
    pub fn with_known_services(mut self, known: impl IntoIterator<Item = ServiceName>) -> Self {
        self.known.extend(known);
        self
    }

    /// The service that this process is: routes of its namespace on services of others (consumer
    /// routes) hold for it alone.
    #[must_use]
    pub fn with_local_service(mut self, service: ServiceName) -> Self {
        self.namespace = service.namespace().into();
        self.local = Some(service);
        self
    }

    /// The namespace of resources and names that do not say any; `default` at first.
    #[must_use]
    pub fn with_default_namespace(mut self, namespace: impl Into<Arc<str>>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Resources that exist but could not be read: a reference to them is not dangling.
    #[must_use]
    pub fn with_broken(mut self, broken: impl IntoIterator<Item = ResourceId>) -> Self {
        self.broken.extend(broken);
        self
    }

    /// The namespace of resources and names that do not say any.
    pub fn default_namespace(&self) -> &str {
        &self.namespace
    }

    pub(super) fn is_partial(&self) -> bool {
        self.partial
    }

    pub(super) fn known(&self) -> &BTreeSet<ServiceName> {
        &self.known
    }

    pub(super) fn local_namespace(&self) -> Option<&str> {
        self.local.as_ref().map(ServiceName::namespace)
    }

    pub(super) fn broken(&self) -> &HashSet<ResourceId> {
        &self.broken
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::whole()
    }
}
