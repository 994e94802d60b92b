//! What the shim says when it cannot start or go on: one line, a code, the next step.

use std::fmt;

/// A failure of the shim itself (never of a proxied request).
///
/// Its text is one line with the code in brackets, then a `next:` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShimError {
    code: Option<String>,
    message: String,
    next: String,
}

impl ShimError {
    /// A value given by flag or environment is not usable (M1003).
    pub(crate) fn configuration(message: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new("M1003", message, next)
    }

    /// A listener could not be opened (M1004). `of` is the application where there are several.
    pub(crate) fn port(
        what: &str,
        of: Option<&str>,
        addr: impl fmt::Display,
        source: &std::io::Error,
    ) -> Self {
        let (whose, flag) = match of {
            None => (String::new(), format!("--{what}")),
            Some(name) => (format!(" of {name}"), format!("its {what}")),
        };
        Self::new(
            "M1004",
            format!("cannot listen on {addr} for {what}{whose}: {source}"),
            format!("free the port, or give {flag} another address (port 0 takes any free one)"),
        )
    }

    /// The same, said of one of several applications.
    pub(crate) fn of(mut self, name: &str) -> Self {
        self.message = format!("{name}: {}", self.message);
        self
    }

    /// The first line, without the next step.
    pub(crate) fn short(&self) -> String {
        let message = self.message.lines().next().unwrap_or_default();
        match &self.code {
            Some(code) => format!("{message} [{code}]"),
            None => message.to_owned(),
        }
    }

    pub(crate) fn new(
        code: impl Into<String>,
        message: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self {
            code: Some(code.into()),
            message: message.into(),
            next: next.into(),
        }
    }

    /// A failure that has no page of its own, as a thread that could not be started.
    pub(crate) fn plain(message: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            code: None,
            message: message.into(),
            next: next.into(),
        }
    }

    /// The code with its page under `docs/errors/`, where there is one.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }
}

impl fmt::Display for ShimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(code) = &self.code {
            write!(f, " [{code}]")?;
        }
        write!(f, "\nnext: {}", self.next)
    }
}

impl std::error::Error for ShimError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_carries_its_code_and_ends_in_the_next_step() {
        let error = ShimError::configuration("--port is missing", "add --port 9000");
        assert_eq!(
            error.to_string(),
            "--port is missing [M1003]\nnext: add --port 9000"
        );
        assert_eq!(error.code(), Some("M1003"));
    }
}
