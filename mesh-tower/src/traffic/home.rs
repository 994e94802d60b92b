use std::sync::Arc;

use crate::tls::Credentials;

/// Where services and namespaces of rules live: our own trust domain, once we have one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Home {
    domain: Option<Arc<str>>,
    credentials: Option<Credentials>,
}

// === impl Home ===

impl Home {
    pub(crate) fn of(credentials: &Credentials) -> Self {
        Self {
            domain: None,
            credentials: Some(credentials.clone()),
        }
    }

    /// It never changes, but is not known before the first identity.
    pub(crate) fn domain(&mut self) -> Option<&Arc<str>> {
        if self.domain.is_none()
            && let Some(own) = self.credentials.as_ref().and_then(Credentials::identity)
        {
            self.domain = Some(own.spiffe_id().trust_domain().into());
        }
        self.domain.as_ref()
    }
}
