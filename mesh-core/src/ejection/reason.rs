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
    /// A probe before the time was up failed: the endpoint stays out as long as it was to.
    ProbeFailed {
        /// Its position.
        ix: usize,
        /// When the next probe is due.
        again: Instant,
    },
    /// An endpoint is slow against its peers and stays, because that rule only watches.
    Slow {
        /// Its position.
        ix: usize,
        /// How many thousandths of the peers' median its latency is.
        factor_milli: u32,
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
    /// So many gateway errors (502, 503, 504) in a row.
    Gateway {
        /// How many.
        errors: u32,
    },
    /// So many failures to connect, resets and timeouts in a row.
    Local {
        /// How many.
        errors: u32,
    },
    /// Its rate of success is far below the mean (A50 `success_rate_ejection`).
    SuccessRate {
        /// Its own, in thousandths.
        milli: u32,
        /// Below this it is an outlier, in thousandths.
        threshold_milli: u32,
    },
    /// Too many failures, whatever the peers do (A50 `failure_percentage_ejection`).
    FailurePercentage {
        /// Failures in percent.
        percent: u32,
        /// Calls in the interval.
        calls: u32,
    },
    /// It has been slow against its peers for several intervals.
    Latency {
        /// How many thousandths of the peers' median its latency is.
        factor_milli: u32,
    },
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
            Self::Gateway { .. } => "consecutive_gateway",
            Self::Local { .. } => "consecutive_local",
            Self::SuccessRate { .. } => "success_rate",
            Self::FailurePercentage { .. } => "failure_percentage",
            Self::Latency { .. } => "latency",
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
            Self::Gateway { errors } => 4 << 56 | u64::from(errors),
            Self::Local { errors } => 5 << 56 | u64::from(errors),
            Self::SuccessRate {
                milli,
                threshold_milli,
            } => 6 << 56 | u64::from(threshold_milli) << 32 | u64::from(milli),
            Self::FailurePercentage { percent, calls } => {
                7 << 56 | u64::from(percent) << 32 | u64::from(calls)
            }
            Self::Latency { factor_milli } => 8 << 56 | u64::from(factor_milli),
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
            4 => Self::Gateway {
                errors: packed as u32,
            },
            5 => Self::Local {
                errors: packed as u32,
            },
            6 => Self::SuccessRate {
                milli: packed as u32,
                threshold_milli: (packed >> 32) as u32 & 0xff_ffff,
            },
            7 => Self::FailurePercentage {
                percent: (packed >> 32) as u32 & 0xff,
                calls: packed as u32,
            },
            8 => Self::Latency {
                factor_milli: packed as u32,
            },
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
            Self::Gateway { errors } => write!(f, "{errors} gateway errors in a row"),
            Self::Local { errors } => {
                write!(
                    f,
                    "{errors} failures in a row to connect or to answer at all"
                )
            }
            Self::SuccessRate {
                milli,
                threshold_milli,
            } => write!(
                f,
                "{} of its calls succeed, below {}, the mean of the peers less their usual spread",
                Percent(*milli),
                Percent(*threshold_milli)
            ),
            Self::FailurePercentage { percent, calls } => {
                write!(f, "{percent}% failed of {calls} calls")
            }
            Self::Latency { factor_milli } => {
                write!(f, "{} as slow as its peers", Times(*factor_milli))
            }
        }
    }
}

/// Thousandths as a percentage: `99.2%`.
struct Percent(u32);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}%", self.0 / 10, self.0 % 10)
    }
}

/// Thousandths as a factor: `3.4 times`.
struct Times(u32);

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} times", self.0 / 1000, self.0 % 1000 / 100)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_fits_one_number_and_comes_out_again() {
        for reason in [
            EjectReason::Consecutive { errors: 5 },
            EjectReason::Rate {
                percent: 31,
                calls: 22,
                peers: 1,
            },
            EjectReason::Probe,
            EjectReason::Gateway { errors: 7 },
            EjectReason::Local { errors: u32::MAX },
            EjectReason::SuccessRate {
                milli: 500,
                threshold_milli: 520,
            },
            EjectReason::FailurePercentage {
                percent: 100,
                calls: 50,
            },
            EjectReason::Latency { factor_milli: 3400 },
        ] {
            assert_eq!(EjectReason::unpack(reason.pack()), Some(reason));
        }
        assert_eq!(EjectReason::unpack(0), None);
    }
}
