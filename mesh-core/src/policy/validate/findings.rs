use crate::error::Code;
use crate::policy::error::{PolicyError, Related, Severity};
use crate::policy::spec::Resource;
use crate::policy::text::limits;

/// The problems found so far.
#[derive(Default)]
pub(super) struct Findings(Vec<PolicyError>);

/// The last problem, for what else is to be said about it.
pub(super) struct Finding<'a>(&'a mut PolicyError);

impl Findings {
    /// Notes an error at a field of a resource.
    pub(super) fn error(
        &mut self,
        resource: &Resource,
        path: impl Into<String>,
        code: Code,
        message: impl Into<String>,
    ) -> Finding<'_> {
        let path = path.into();
        let mut error = PolicyError::new(code, message);
        error.resource = Some(resource.id());
        let origin = resource.provenance().origin();
        error.at = origin.map(|origin| origin.locate(&path));
        error.path = path;
        let at = self.0.len();
        self.0.push(error);
        Finding(&mut self.0[at])
    }

    /// Notes a warning.
    pub(super) fn warning(
        &mut self,
        resource: &Resource,
        path: impl Into<String>,
        code: Code,
        message: impl Into<String>,
    ) -> Finding<'_> {
        let finding = self.error(resource, path, code, message);
        finding.0.severity = Severity::Warning;
        finding
    }

    pub(super) fn into_problems(mut self) -> Vec<PolicyError> {
        self.0.sort_by(|a, b| {
            let key = |e: &PolicyError| (e.severity, e.at.clone(), e.resource.clone());
            key(a).cmp(&key(b))
        });
        self.0.dedup();
        if self.0.len() > limits::PROBLEMS {
            let message = format!("{} more problems", self.0.len() - limits::PROBLEMS);
            self.0.truncate(limits::PROBLEMS);
            self.0.push(PolicyError::new(Code::POLICY, message));
        }
        self.0
    }
}

impl Finding<'_> {
    /// What was probably meant; shown at the place.
    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// The same, if there is something to say.
    pub(super) fn maybe_hint(self, hint: Option<String>) -> Self {
        self.0.hint = hint;
        self
    }

    /// What to do; shown below.
    pub(super) fn help(self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// Another place that belongs to it.
    pub(super) fn related(self, resource: &Resource, path: &str) -> Self {
        if let Some(origin) = resource.provenance().origin() {
            self.0.related.push(Related {
                at: origin.locate(path),
                path: path.to_owned(),
            });
        }
        self
    }
}
