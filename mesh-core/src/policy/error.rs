use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::spec::ResourceId;
use super::text::Source;
use crate::error::Code;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The policy is refused.
    Error,
    /// The policy is taken; someone should look at it.
    Warning,
}

/// A place in a policy text. Lines and columns count from 1, in characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Location {
    /// Name of the text, mostly a file.
    #[serde(serialize_with = "as_text")]
    pub file: Arc<str>,
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
    /// Characters that the place is long.
    #[serde(skip)]
    pub len: u32,
}

/// A second place that belongs to a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Related {
    /// The place.
    pub at: Location,
    /// Which field it is, such as `retry.attempts`.
    pub path: String,
}

/// One problem of a policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PolicyError {
    /// Its code; `meshctl explain` has a page for each.
    pub code: Code,
    /// How much it matters.
    pub severity: Severity,
    /// The resource that has it, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceId>,
    /// The field, in long form, such as `spec.rules[0].timeouts.request`.
    pub path: String,
    /// What is wrong, in one line.
    pub message: String,
    /// What was probably meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Where it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Location>,
    /// Other places that belong to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Related>,
}

/// All problems of a policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct PolicyErrors(pub Vec<PolicyError>);

// === impl PolicyError ===

impl PolicyError {
    /// An error that is nowhere yet.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            resource: None,
            path: String::new(),
            message: message.into(),
            hint: None,
            help: None,
            at: None,
            related: Vec::new(),
        }
    }

    /// Whether the policy is refused because of it.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.at, &self.resource) {
            (Some(at), _) => write!(f, "{at}: ")?,
            (None, Some(resource)) if self.path.is_empty() => write!(f, "{resource}: ")?,
            (None, Some(resource)) => write!(f, "{resource} {}: ", self.path)?,
            (None, None) => {}
        }
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, ", {hint}")?;
        }
        write!(f, " [{}]", self.code)
    }
}

impl std::error::Error for PolicyError {}

// === impl Location ===

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

// === impl PolicyErrors ===

impl PolicyErrors {
    /// Whether there is no problem.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The problems.
    pub fn iter(&self) -> std::slice::Iter<'_, PolicyError> {
        self.0.iter()
    }

    /// Whether one of the problems has `code`, written like `M3002`.
    pub fn has(&self, code: &str) -> bool {
        self.0.iter().any(|e| e.code.to_string() == code)
    }

    /// All problems for people, each with the line of `sources` that has it.
    pub fn render(&self, sources: &[Source]) -> String {
        super::text::render(&self.0, sources, super::text::Style::Plain)
    }

    /// [`render`](Self::render) with the colours of a terminal.
    pub fn render_ansi(&self, sources: &[Source]) -> String {
        super::text::render(&self.0, sources, super::text::Style::Ansi)
    }
}

impl fmt::Display for PolicyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, error) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("; ")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyErrors {}

impl IntoIterator for PolicyErrors {
    type Item = PolicyError;
    type IntoIter = std::vec::IntoIter<PolicyError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl From<PolicyError> for PolicyErrors {
    fn from(error: PolicyError) -> Self {
        Self(vec![error])
    }
}

fn as_text<T: fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
