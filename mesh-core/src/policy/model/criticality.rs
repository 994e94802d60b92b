use std::sync::Arc;

use super::{Operation, Peer};
use crate::context::Criticality;

/// How much calls matter that arrive.
#[derive(Clone, Debug, PartialEq)]
pub struct CriticalityPolicy {
    pub(crate) trust_mesh: bool,
    pub(crate) default_level: Criticality,
    pub(crate) rules: Arc<[CriticalityRule]>,
}

/// Calls of one level, whatever their header says.
#[derive(Clone, Debug, PartialEq)]
pub struct CriticalityRule {
    pub(crate) from: Arc<[Peer]>,
    pub(crate) matches: Arc<[Operation]>,
    pub(crate) level: Criticality,
}

// === impl CriticalityPolicy ===

impl Default for CriticalityPolicy {
    fn default() -> Self {
        Self {
            trust_mesh: true,
            default_level: Criticality::Critical,
            rules: Arc::default(),
        }
    }
}

impl CriticalityPolicy {
    /// Whether the header of a caller with an identity of the mesh counts. That of others never
    /// does.
    pub fn trust_mesh(&self) -> bool {
        self.trust_mesh
    }

    /// The level of calls that no rule and no header gives one.
    pub fn default_level(&self) -> Criticality {
        self.default_level
    }

    /// The first rule that fits gives the level.
    pub fn rules(&self) -> &[CriticalityRule] {
        &self.rules
    }

    /// The same; whether the header of mesh callers counts.
    #[must_use]
    pub fn with_trust_mesh(mut self, trust: bool) -> Self {
        self.trust_mesh = trust;
        self
    }

    /// The same with another level where nothing is said.
    #[must_use]
    pub fn with_default_level(mut self, level: Criticality) -> Self {
        self.default_level = level;
        self
    }

    /// The same with other rules.
    #[must_use]
    pub fn with_rules(mut self, rules: impl Into<Arc<[CriticalityRule]>>) -> Self {
        self.rules = rules.into();
        self
    }
}

// === impl CriticalityRule ===

impl CriticalityRule {
    /// Calls by `from` of `matches` are `level`; an empty list is any.
    pub fn new(
        from: impl Into<Arc<[Peer]>>,
        matches: impl Into<Arc<[Operation]>>,
        level: Criticality,
    ) -> Self {
        Self {
            from: from.into(),
            matches: matches.into(),
            level,
        }
    }

    /// The callers; empty is everyone.
    pub fn from(&self) -> &[Peer] {
        &self.from
    }

    /// The calls, any of these; empty is every call.
    pub fn matches(&self) -> &[Operation] {
        &self.matches
    }

    /// Their level.
    pub fn level(&self) -> Criticality {
        self.level
    }
}
