use crate::policy::spec::ResourceId;

/// Which policy set which top-level field; what nobody set has its default.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Origins(Vec<(&'static str, ResourceId)>);

impl Origins {
    /// `policy` sets `field`, whoever did before.
    pub(crate) fn set(&mut self, field: &'static str, policy: ResourceId) {
        match self.0.iter_mut().find(|(known, _)| *known == field) {
            Some((_, origin)) => *origin = policy,
            None => self.0.push((field, policy)),
        }
    }

    pub(crate) fn of(&self, field: &str) -> Option<&ResourceId> {
        let known = self.0.iter().find(|(known, _)| *known == field);
        known.map(|(_, origin)| origin)
    }
}
