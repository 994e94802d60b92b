use super::{BackendIx, WHOLE_PERCENT_MILLI};
use crate::policy::defaults;

/// Copies of some calls go to a backend as well; their answers are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mirror {
    pub(crate) backend: BackendIx,
    pub(crate) percent_milli: u32,
    pub(crate) max_body: usize,
}

// === impl Mirror ===

impl Mirror {
    /// Copies of all calls, with bodies of up to 64 KiB.
    pub fn new(backend: BackendIx) -> Self {
        Self {
            backend,
            percent_milli: WHOLE_PERCENT_MILLI,
            max_body: defaults::MIRROR_BODY,
        }
    }

    /// Where the copies go.
    pub fn backend(&self) -> BackendIx {
        self.backend
    }

    /// How many calls are copied, in thousandths of a percent: 100,000 is all of them.
    pub fn percent_milli(&self) -> u32 {
        self.percent_milli
    }

    /// Bytes of a body; a call with a longer one is not copied.
    pub fn max_body(&self) -> usize {
        self.max_body
    }

    /// The same with another part of the calls, in thousandths of a percent.
    #[must_use]
    pub fn with_percent_milli(mut self, percent_milli: u32) -> Self {
        self.percent_milli = percent_milli;
        self
    }

    /// The same with another limit for bodies, in bytes.
    #[must_use]
    pub fn with_max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }
}
