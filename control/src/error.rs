//! [`Error`]: why the control server did not start, with the next step to take.

use std::fmt;

/// Why the control server could not start.
///
/// Displays as one line that ends in the code; [`Error::next`] is what to do about it.
#[derive(Debug)]
pub struct Error {
    code: &'static str,
    message: String,
    next: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(
        code: &'static str,
        message: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self {
            code,
            message: message.into(),
            next: next.into(),
            source: None,
        }
    }

    /// Something that the system refused at start, with the code `M1003`.
    pub fn start(message: impl Into<String>) -> Self {
        Self::new("M1003", message, "look at the limits of this process")
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The code of the registry, for example `M5003` (state directory unusable).
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What to do next, in one line.
    pub fn next(&self) -> &str {
        &self.next
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        write!(f, " [{}]", self.code)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
