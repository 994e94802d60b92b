use std::fmt;
use std::sync::Arc;

use super::{
    DirectResponse, Fault, Filter, HashOn, HeaderEdit, Hostname, Mirror, Redirect, RetryPolicy,
    Rewrite, RouteMatch, RouteTimeouts, SessionPolicy, Split,
};
use crate::policy::spec::ResourceId;

/// Which line of policy a route comes from. Displayed as
/// `HTTPRoute shop/reviews rule 0 (reviews.yaml:24)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub(crate) resource: Option<ResourceId>,
    pub(crate) rule: usize,
    pub(crate) file: Option<Arc<str>>,
    pub(crate) line: u32,
}

/// One rule of a route: what it matches, and what happens then.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    pub(crate) name: Arc<str>,
    pub(crate) origin: Origin,
    pub(crate) hostnames: Vec<Hostname>,
    pub(crate) matches: Vec<RouteMatch>,
    pub(crate) filters: Arc<[Filter]>,
    pub(crate) split: Split,
    pub(crate) timeouts: RouteTimeouts,
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) mirrors: Arc<[Mirror]>,
    pub(crate) direct: Option<Arc<DirectResponse>>,
    pub(crate) fault: Option<Arc<Fault>>,
    pub(crate) session: Option<Arc<SessionPolicy>>,
    pub(crate) sticky: Option<Arc<[HashOn]>>,
    pub(crate) trailers: Option<Arc<HeaderEdit>>,
}

// === impl Origin ===

impl Origin {
    /// A route that no resource describes: the default one of a service.
    pub fn built_in() -> Self {
        Self {
            resource: None,
            rule: 0,
            file: None,
            line: 0,
        }
    }

    /// The resource.
    pub fn resource(&self) -> Option<&ResourceId> {
        self.resource.as_ref()
    }

    /// Position of the rule within it.
    pub fn rule(&self) -> usize {
        self.rule
    }

    /// The file, if it is known.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// Line of the rule in the file, from 1.
    pub fn line(&self) -> u32 {
        self.line
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.resource {
            None => f.write_str("built-in default")?,
            Some(resource) => write!(f, "{resource} rule {}", self.rule)?,
        }
        match &self.file {
            Some(file) => write!(f, " ({file}:{})", self.line),
            None => Ok(()),
        }
    }
}

// === impl Route ===

impl Route {
    /// A route that sends everything to `split`, with the defaults of the table.
    pub fn new(name: impl Into<Arc<str>>, split: Split) -> Self {
        Self {
            name: name.into(),
            origin: Origin::built_in(),
            hostnames: Vec::new(),
            matches: vec![RouteMatch::any()],
            filters: Arc::default(),
            split,
            timeouts: RouteTimeouts::default(),
            retry: None,
            mirrors: Arc::default(),
            direct: None,
            fault: None,
            session: None,
            sticky: None,
            trailers: None,
        }
    }

    /// The same with other matches; any of them will do.
    #[must_use]
    pub fn with_matches(mut self, matches: Vec<RouteMatch>) -> Self {
        self.matches = matches;
        self
    }

    /// The same, limited to `hostnames`.
    #[must_use]
    pub fn with_hostnames(mut self, hostnames: Vec<Hostname>) -> Self {
        self.hostnames = hostnames;
        self
    }

    /// The same with other time limits.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: RouteTimeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// The same with a retry policy.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = Some(retry);
        self
    }

    /// The same with copies of calls.
    #[must_use]
    pub fn with_mirrors(mut self, mirrors: impl Into<Arc<[Mirror]>>) -> Self {
        self.mirrors = mirrors.into();
        self
    }

    /// The same with an answer instead of a backend.
    #[must_use]
    pub fn with_direct(mut self, direct: DirectResponse) -> Self {
        self.direct = Some(Arc::new(direct));
        self
    }

    /// The same with faults.
    #[must_use]
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.fault = Some(Arc::new(fault));
        self
    }

    /// The same with sessions.
    #[must_use]
    pub fn with_session(mut self, session: SessionPolicy) -> Self {
        self.session = Some(Arc::new(session));
        self
    }

    /// The same with a split by hash.
    #[must_use]
    pub fn with_sticky(mut self, sticky: impl Into<Arc<[HashOn]>>) -> Self {
        self.sticky = Some(sticky.into());
        self
    }

    /// The same with edits of the answer's trailers.
    #[must_use]
    pub fn with_trailers(mut self, trailers: HeaderEdit) -> Self {
        self.trailers = Some(Arc::new(trailers));
        self
    }

    /// Its label in metrics: the name of the rule, or `resource/number`.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Which line of policy it comes from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Hosts that it is limited to; empty means any.
    pub fn hostnames(&self) -> &[Hostname] {
        &self.hostnames
    }

    /// What it matches: any of these.
    pub fn matches(&self) -> &[RouteMatch] {
        &self.matches
    }

    /// Changes on the way, in this order.
    pub fn filters(&self) -> &[Filter] {
        &self.filters
    }

    /// The weighted targets.
    pub fn split(&self) -> &Split {
        &self.split
    }

    /// Time limits.
    pub fn timeouts(&self) -> &RouteTimeouts {
        &self.timeouts
    }

    /// What is tried again beyond what provably was not processed.
    pub fn retry(&self) -> Option<&RetryPolicy> {
        self.retry.as_ref()
    }

    /// Copies of calls; their answers are ignored.
    pub fn mirrors(&self) -> &Arc<[Mirror]> {
        &self.mirrors
    }

    /// The answer that is given instead of sending the call.
    pub fn direct(&self) -> Option<&Arc<DirectResponse>> {
        self.direct.as_ref()
    }

    /// Faults that are made on purpose.
    pub fn fault(&self) -> Option<&Arc<Fault>> {
        self.fault.as_ref()
    }

    /// Calls of one session go to one endpoint.
    pub fn session(&self) -> Option<&Arc<SessionPolicy>> {
        self.session.as_ref()
    }

    /// What decides about the target of the [`split`](Self::split) instead of chance: calls of one
    /// hash keep their target when weights change, as far as the new weights allow.
    pub fn sticky(&self) -> Option<&Arc<[HashOn]>> {
        self.sticky.as_ref()
    }

    /// Edits of the answer's trailers.
    pub fn trailers(&self) -> Option<&Arc<HeaderEdit>> {
        self.trailers.as_ref()
    }

    /// The redirect that answers instead of a backend.
    pub fn redirect(&self) -> Option<&Redirect> {
        self.filters.iter().find_map(|f| match f {
            Filter::Redirect(redirect) => Some(redirect),
            _ => None,
        })
    }

    /// The change of host and path.
    pub fn rewrite(&self) -> Option<&Rewrite> {
        self.filters.iter().find_map(|f| match f {
            Filter::Rewrite(rewrite) => Some(rewrite),
            _ => None,
        })
    }
}
