//! How an error reads: as one line, and with `{:#}` as what was tried and what to do next.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use super::{ErrorKind, MeshError};

impl fmt::Display for MeshError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(service) = &self.0.service {
            write!(f, "{service}: ")?;
        }
        write!(f, "{} [{}]", self.0.message, self.0.code)?;
        if f.alternate() {
            self.story(f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for MeshError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeshError")
            .field("kind", &self.0.kind)
            .field("code", &self.0.code)
            .field("service", &self.0.service)
            .field("message", &self.0.message)
            .field("attempts", &self.0.attempts)
            .field("flags", &self.0.flags)
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

impl MeshError {
    fn story(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\n")?;
        for attempt in &self.0.attempts {
            write!(f, "\n   attempt {:<2} ", attempt.number)?;
            match attempt.endpoint {
                Some(addr) => write!(
                    f,
                    "{addr:<15} {} after {}",
                    attempt.outcome,
                    Human(attempt.after)
                )?,
                None => f.write_str(&attempt.outcome)?,
            }
        }
        let said = |label: &str| self.0.notes.iter().any(|(l, _)| l == label);
        for (label, text) in &self.0.notes {
            write!(f, "\n   {label:<10} {text}")?;
        }
        let mut below = StdError::source(self);
        while let Some(error) = below {
            write!(f, "\n   {:<10} {error}", "because")?;
            below = error.source();
        }
        if !said("next") {
            write!(f, "\n   {:<10} {}", "next", self.next())?;
        }
        Ok(())
    }

    fn next(&self) -> String {
        let mut next = format!("meshctl explain {}", self.0.code);
        let about_endpoints = matches!(
            self.0.kind,
            ErrorKind::NoEndpoints
                | ErrorKind::Ejected
                | ErrorKind::Connect
                | ErrorKind::AttemptTimeout
                | ErrorKind::Protocol
                | ErrorKind::Overloaded
        );
        if let (true, Some(service)) = (about_endpoints, self.service()) {
            let host = service.split(':').next().unwrap_or(service);
            next.push_str("   |   meshctl endpoints ");
            next.push_str(host);
        }
        next
    }
}

/// A duration as people write it: `12ms`, `2.0s`.
struct Human(Duration);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        match micros {
            0..1_000 => write!(f, "{micros}us"),
            1_000..1_000_000 => write!(f, "{}ms", micros / 1_000),
            _ => write!(f, "{:.1}s", self.0.as_secs_f64()),
        }
    }
}
