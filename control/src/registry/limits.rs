//! Limits on what a peer can put into the registry: its memory is shared by all.

use std::collections::BTreeMap;
use std::fmt;

use mesh_core::policy::{MAX_PRIORITY, MAX_WEIGHT};

use super::Instance;

/// Entries of one stream. A process serves on a handful of addresses.
const MAX_PER_STREAM: usize = 64;
/// Entries of one service, and with it of one identity.
const MAX_PER_SERVICE: usize = 5_000;
/// Entries altogether.
pub(super) const MAX_TOTAL: usize = 50_000;
const MAX_LABELS: usize = 32;
/// Longest label key or value, instance name or zone, in bytes (Kubernetes' label values are 63,
/// its names 253).
const MAX_TEXT: usize = 253;

/// Why an instance was not taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RegistryError(String);

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RegistryError {}

/// Whether one more entry fits.
pub(super) fn room(stream: usize, service: usize, total: usize) -> Result<(), RegistryError> {
    for (what, have, most) in [
        ("a stream", stream, MAX_PER_STREAM),
        ("a service", service, MAX_PER_SERVICE),
        ("the registry", total, MAX_TOTAL),
    ] {
        if have >= most {
            return Err(RegistryError(format!(
                "{what} holds at most {most} instances"
            )));
        }
    }
    Ok(())
}

impl Instance {
    /// Whether others could use what the instance says about itself.
    pub(super) fn check(&self) -> Result<(), RegistryError> {
        let refuse = |text: String| Err(RegistryError(text));
        if self.addr.port() == 0 || self.addr.ip().is_unspecified() || self.addr.ip().is_multicast()
        {
            return refuse(format!(
                "{} is not an address that others can call",
                self.addr
            ));
        }
        check_labels(&self.labels)?;
        for (what, text) in [("instance name", &self.instance), ("zone", &self.zone)] {
            if text.len() > MAX_TEXT || text.chars().any(char::is_control) {
                return refuse(format!(
                    "the {what} must be at most {MAX_TEXT} printable bytes"
                ));
            }
        }
        if self.weight > MAX_WEIGHT {
            return refuse(format!("weight {} is above {MAX_WEIGHT}", self.weight));
        }
        if self.priority > MAX_PRIORITY {
            return refuse(format!(
                "priority {} is above {MAX_PRIORITY}",
                self.priority
            ));
        }
        Ok(())
    }
}

fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), RegistryError> {
    if labels.len() > MAX_LABELS {
        return Err(RegistryError(format!(
            "{} labels, at most {MAX_LABELS}",
            labels.len()
        )));
    }
    for (key, value) in labels {
        let bad = |text: &str| text.len() > MAX_TEXT || text.chars().any(char::is_control);
        if key.is_empty() || bad(key) || bad(value) {
            return Err(RegistryError(format!(
                "label keys and values must be at most {MAX_TEXT} printable bytes"
            )));
        }
    }
    Ok(())
}
