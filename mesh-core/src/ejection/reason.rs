use std::fmt;
use std::time::Instant;

/// What a record or a sweep changed. Positions are those of the set that was passed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// An endpoint was taken out of rotation.
    Ejected {
        /// Its position.
        ix: usize,
        /// Why.
        reason: EjectReason,
        /// When a probe is due.
        until: Instant,
    },
    /// The time of an endpoint is up: the next call that finds it is its probe.
    Probing {
        /// Its position.
        ix: usize,
    },
    /// An endpoint is back in rotation.
    Restored {
        /// Its position.
        ix: usize,
    },
    /// An ejection was due and not made. Told at most once a second.
    Withheld {
        /// Why the endpoint stays.
        why: Withheld,
    },
}

/// Why an endpoint was ejected. Displayed as `31% failed of 22 calls, peers 0%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EjectReason {
    /// So many failures in a row.
    Consecutive {
        /// How many.
        errors: u32,
    },
    /// Too many failures among its calls.
    Rate {
        /// Failures in percent.
        percent: u32,
        /// Calls in the interval.
        calls: u32,
        /// Failures of the peers in percent.
        peers: u32,
    },
    /// The probe after an ejection failed.
    Probe,
}

/// Why an ejection was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Withheld {
    /// As many as `maxEjectedPercent` allows are out already.
    Cap,
    /// No other endpoint is available.
    LastAvailable,
    /// The peers fail too.
    ServiceWide,
}

// === impl EjectReason ===

impl EjectReason {
    /// The word used in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Consecutive { .. } => "consecutive_errors",
            Self::Rate { .. } => "failure_rate",
            Self::Probe => "probe_failed",
        }
    }

    pub(super) fn pack(self) -> u64 {
        match self {
            Self::Consecutive { errors } => 1 << 56 | u64::from(errors),
            Self::Rate {
                percent,
                calls,
                peers,
            } => 2 << 56 | u64::from(percent) << 40 | u64::from(peers) << 32 | u64::from(calls),
            Self::Probe => 3 << 56,
        }
    }

    pub(super) fn unpack(packed: u64) -> Option<Self> {
        Some(match packed >> 56 {
            1 => Self::Consecutive {
                errors: packed as u32,
            },
            2 => Self::Rate {
                percent: (packed >> 40) as u32 & 0xff,
                calls: packed as u32,
                peers: (packed >> 32) as u32 & 0xff,
            },
            3 => Self::Probe,
            _ => return None,
        })
    }
}

impl fmt::Display for EjectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Consecutive { errors } => write!(f, "{errors} failures in a row"),
            Self::Rate {
                percent,
                calls,
                peers,
            } => write!(f, "{percent}% failed of {calls} calls, peers {peers}%"),
            Self::Probe => f.write_str("the probe call failed"),
        }
    }
}

// === impl Withheld ===

impl Withheld {
    /// The word used in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Cap => "cap",
            Self::LastAvailable => "last_available",
            Self::ServiceWide => "service_wide",
        }
    }
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cap => "as many endpoints as allowed are ejected already",
            Self::LastAvailable => "it is the last available endpoint",
            Self::ServiceWide => "the service fails as a whole",
        })
    }
}
