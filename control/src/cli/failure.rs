//! Why a command failed: each ends in a `next:` line and an exit code.

use std::fmt;

/// A failed command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) exit: u8,
    message: String,
    next: String,
}

impl Failure {
    /// Something is wrong with what was looked at (exit code 1).
    pub(super) fn findings(message: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            exit: 1,
            message: message.into(),
            next: next.into(),
        }
    }

    /// The command was typed wrongly (exit code 2).
    pub(super) fn usage(message: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            exit: 2,
            message: message.into(),
            next: next.into(),
        }
    }

    /// The control server did not answer (exit code 3).
    pub(super) fn unreachable(message: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            exit: 3,
            message: message.into(),
            next: next.into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.message)?;
        write!(f, "next: {}", self.next)
    }
}
