use std::fmt;
use std::ops::Bound;
use std::time::Duration;

use super::Outcome;

/// Something that must hold of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Expect {
    pub(super) figure: Figure,
    pub(super) from: Duration,
    pub(super) to: Option<Duration>,
    pub(super) at_least: Option<f64>,
    pub(super) at_most: Option<f64>,
}

/// A figure of a run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Figure {
    /// Good calls, in percent; with the position of a load, of its calls only.
    Success(Option<usize>),
    /// A quantile (0 to 1) of the latency of good calls, in milliseconds.
    Latency(f64),
    /// A host's part of the requests at its service, in percent.
    Share(String),
    /// Requests at a service for each call.
    Amplification(String),
    /// Most hosts of a service out of rotation at a time, in one process.
    Out(String),
    /// Good calls a second.
    Goodput,
    /// Seconds from the beginning of the part until a host is in rotation again, in every process;
    /// without end when it is not.
    Back(String),
    /// The share of a host that was out, in the second after it is in rotation again, in percent.
    Returning(String),
    /// A host's largest part of the requests at its service within one second, in percent.
    Peak(String),
    /// A counter or gauge at the end of the run, summed up over all processes: its name, and
    /// labels if not all of it is meant, `mesh_ejections_withheld_total{reason="service_wide"}`.
    Metric(String),
}

/// What came of an [`Expect`].
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What was expected.
    pub expect: Expect,
    /// The figure.
    pub figure: f64,
    /// Whether it is as expected.
    pub holds: bool,
}

// === impl Expect ===

impl Expect {
    /// A figure of the whole run; see the methods for what it must be.
    pub fn that(figure: Figure) -> Self {
        Self {
            figure,
            from: Duration::ZERO,
            to: None,
            at_least: None,
            at_most: None,
        }
    }

    /// Of a part of the run only, by when calls began.
    #[must_use]
    pub fn within(mut self, from: Duration, to: Option<Duration>) -> Self {
        (self.from, self.to) = (from, to);
        self
    }

    /// It must not be less.
    #[must_use]
    pub fn at_least(mut self, least: f64) -> Self {
        self.at_least = Some(least);
        self
    }

    /// It must not be more.
    #[must_use]
    pub fn at_most(mut self, most: f64) -> Self {
        self.at_most = Some(most);
        self
    }

    pub(super) fn judge(&self, outcome: &Outcome) -> Verdict {
        let to = self.to.map_or(Bound::Unbounded, Bound::Excluded);
        let within = (Bound::Included(self.from), to);
        let figure = match &self.figure {
            Figure::Success(None) => outcome.success(within) * 100.0,
            Figure::Success(Some(load)) => {
                let of = outcome.calls(within).filter(|call| call.load == *load);
                let (all, good) = of.fold((0_u32, 0_u32), |(all, good), call| {
                    (all + 1, good + u32::from(call.good))
                });
                f64::from(good) * 100.0 / f64::from(all.max(1))
            }
            Figure::Latency(quantile) => outcome.latency(*quantile, within).as_secs_f64() * 1e3,
            Figure::Share(host) => outcome.share(host, within) * 100.0,
            Figure::Amplification(service) => outcome.amplification(service, within),
            Figure::Out(service) => outcome.most_out_within(service, within) as f64,
            Figure::Back(host) => match outcome.back(host, within) {
                Some(at) => at.saturating_sub(self.from).as_secs_f64(),
                None => f64::INFINITY,
            },
            Figure::Returning(host) => match outcome.back(host, within) {
                Some(at) => outcome.share(host, at..at + Duration::from_secs(1)) * 100.0,
                None => f64::NAN,
            },
            Figure::Peak(host) => outcome.peak(host, within) * 100.0,
            Figure::Metric(name) => outcome.metric(name),
            Figure::Goodput => {
                let good = outcome.calls(within).filter(|call| call.good).count();
                let last = outcome.calls.iter().map(|call| call.at).max();
                let end = self.to.or(last).unwrap_or_default();
                let seconds = end.saturating_sub(self.from).as_secs_f64();
                good as f64 / seconds.max(1e-3)
            }
        };
        let holds = self.at_least.is_none_or(|least| figure >= least)
            && self.at_most.is_none_or(|most| figure <= most);
        Verdict {
            expect: self.clone(),
            figure,
            holds,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success(None) => f.write_str("success (%)"),
            Self::Success(Some(load)) => write!(f, "success of load {load} (%)"),
            Self::Latency(quantile) => write!(f, "p{} (ms)", quantile * 100.0),
            Self::Share(host) => write!(f, "share of {host} (%)"),
            Self::Amplification(service) => write!(f, "requests at {service} a call"),
            Self::Out(service) => write!(f, "most of {service} out of rotation"),
            Self::Goodput => f.write_str("good calls a second"),
            Self::Back(host) => write!(f, "{host} back in rotation after (s)"),
            Self::Returning(host) => write!(f, "share of {host} in its first second back (%)"),
            Self::Peak(host) => write!(f, "share of {host} in its busiest second (%)"),
            Self::Metric(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.holds { "ok  " } else { "FAIL" };
        write!(f, "{mark} {}", self.expect.figure)?;
        match (self.expect.from, self.expect.to) {
            (from, None) if from.is_zero() => {}
            (from, None) => write!(f, " from {from:?}")?,
            (from, Some(to)) => write!(f, " from {from:?} to {to:?}")?,
        }
        write!(f, ": {:.2}", self.figure)?;
        if let Some(least) = self.expect.at_least {
            write!(f, ", at least {least}")?;
        }
        if let Some(most) = self.expect.at_most {
            write!(f, ", at most {most}")?;
        }
        Ok(())
    }
}
