use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue};

use super::{BodyClock, Deadline, TraceContext, accept_baggage};
use crate::identity::SpiffeId;
use crate::sync::atomic::{AtomicBool, Ordering::Relaxed};
use crate::{deadline, metadata};

/// How much a call matters when a server must shed load (SRE book, "Criticality"). Ordered: what
/// compares lower is shed first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Criticality {
    /// Shed first: retried much later, or not at all. The default of batch work.
    Sheddable,
    /// Shed when some partial unavailability is expected.
    SheddablePlus,
    /// The default: its loss is visible to users.
    #[default]
    Critical,
    /// Shed last.
    CriticalPlus,
}

/// Whether calls made for a request failed after all that was allowed had been tried again. Clones
/// are the same fact, so that a task that the handler has started tells the handler's server.
///
/// A failure that was retried below must not be retried above as well: with three attempts at each of
/// four hops the last one would see 81 times the load.
#[derive(Clone, Debug, Default)]
pub struct Exhausted(Arc<AtomicBool>);

/// What a server learnt from a request and a client sends on.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// When the caller stops waiting if no body moves it: see [`held_to`](Self::held_to).
    pub deadline: Option<Instant>,
    /// Whether that holds whatever is sent, as a gRPC deadline does; any other counts from the last piece of
    /// the request's body.
    pub is_fixed: bool,
    /// When that was.
    pub body: BodyClock,
    /// Where the request stands in its trace.
    pub trace: TraceContext,
    /// Passed on as it came.
    pub baggage: Option<HeaderValue>,
    /// How much the call matters.
    pub criticality: Criticality,
    /// Above 0 when this request arrived as a retry: nothing below is retried again (chain stop).
    pub attempt: u32,
    /// Who called, when that was proved by a certificate.
    pub peer: Option<SpiffeId>,
    /// Whether a failure of this request is one that was retried below already.
    pub exhausted: Exhausted,
}

// === impl Exhausted ===

impl Exhausted {
    /// A call made for the request failed, and no caller above is to try it again.
    pub fn set(&self) {
        self.0.store(true, Relaxed);
    }

    /// Whether one did.
    pub fn get(&self) -> bool {
        self.0.load(Relaxed)
    }
}

// === impl Criticality ===

impl Criticality {
    /// The word in the header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sheddable => "sheddable",
            Self::SheddablePlus => "sheddable-plus",
            Self::Critical => "critical",
            Self::CriticalPlus => "critical-plus",
        }
    }
}

impl fmt::Display for Criticality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Criticality {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [
            Self::Sheddable,
            Self::SheddablePlus,
            Self::Critical,
            Self::CriticalPlus,
        ]
        .into_iter()
        .find(|c| c.as_str().eq_ignore_ascii_case(text))
        .ok_or(())
    }
}

// === impl RequestContext ===

impl RequestContext {
    /// The context of work that no request started.
    pub fn start(rng: &mut fastrand::Rng) -> Self {
        Self {
            deadline: None,
            is_fixed: true,
            body: BodyClock::default(),
            trace: TraceContext::start(false, rng),
            baggage: None,
            criticality: Criticality::default(),
            attempt: 0,
            peer: None,
            exhausted: Exhausted::default(),
        }
    }

    /// Reads a request's headers as they arrived at `now`. A value that cannot be read counts as
    /// absent: a bad header of a caller is no reason to refuse the call. How much the call matters is
    /// not the caller's word alone: [`overload::level`](crate::overload::level) says that.
    pub fn extract(
        headers: &HeaderMap,
        peer: Option<SpiffeId>,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Self {
        let text = |name: &http::HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
        let fixed = text(&metadata::GRPC_TIMEOUT).and_then(deadline::parse_grpc_timeout);
        let left =
            fixed.or_else(|| text(&metadata::TIMEOUT_MS).and_then(deadline::parse_timeout_ms));
        Self {
            deadline: left.and_then(|left: Duration| now.checked_add(left)),
            is_fixed: fixed.is_some(),
            body: BodyClock::default(),
            trace: TraceContext::extract(headers, rng).0,
            baggage: headers.get(metadata::BAGGAGE).and_then(accept_baggage),
            criticality: Criticality::default(),
            attempt: arrived_attempt(headers),
            peer,
            exhausted: Exhausted::default(),
        }
    }
}

impl RequestContext {
    /// The caller's deadline, if it said one, as the request's body moves it.
    pub fn held_to(&self) -> Option<Deadline> {
        let body = match self.is_fixed {
            true => BodyClock::default(),
            false => self.body.clone(),
        };
        Some(Deadline::new(self.deadline?, body))
    }
}

/// How many earlier attempts of this call the headers tell of; 0 for a first attempt.
fn arrived_attempt(headers: &HeaderMap) -> u32 {
    let number = |name: &http::HeaderName| {
        headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.parse::<u32>().ok())
    };
    let ours = number(&metadata::ATTEMPT).map(|n| n.saturating_sub(1));
    ours.into_iter()
        .chain(number(&metadata::PREVIOUS_ATTEMPTS))
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extract(list: &[(http::HeaderName, &'static str)], now: Instant) -> RequestContext {
        let headers = list
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
            .collect();
        RequestContext::extract(&headers, None, now, &mut fastrand::Rng::with_seed(1))
    }

    #[test]
    fn deadlines_of_both_protocols_are_read() {
        let now = Instant::now();
        let deadline = |list: &[_]| extract(list, now).deadline;
        let second = Some(now + Duration::from_secs(1));
        assert_eq!(deadline(&[(metadata::GRPC_TIMEOUT, "1S")]), second);
        assert_eq!(deadline(&[(metadata::TIMEOUT_MS, "1000")]), second);
        assert_eq!(deadline(&[(metadata::GRPC_TIMEOUT, "soon")]), None);
        assert_eq!(deadline(&[]), None);
    }

    #[test]
    fn a_retry_is_recognised_whoever_says_so() {
        let now = Instant::now();
        let attempt = |list: &[_]| extract(list, now).attempt;
        assert_eq!(attempt(&[]), 0);
        assert_eq!(attempt(&[(metadata::ATTEMPT, "1")]), 0);
        assert_eq!(attempt(&[(metadata::ATTEMPT, "2")]), 1);
        assert_eq!(attempt(&[(metadata::PREVIOUS_ATTEMPTS, "3")]), 3);
        let both = [(metadata::ATTEMPT, "2"), (metadata::PREVIOUS_ATTEMPTS, "3")];
        assert_eq!(attempt(&both), 3);
        assert_eq!(attempt(&[(metadata::ATTEMPT, "-1")]), 0);
    }

    #[test]
    fn criticality_is_ordered_and_read_in_any_case() {
        assert_eq!("sheddable".parse(), Ok(Criticality::Sheddable));
        assert_eq!("CRITICAL-PLUS".parse(), Ok(Criticality::CriticalPlus));
        assert_eq!("nonsense".parse::<Criticality>(), Err(()));
        let header = [(metadata::CRITICALITY, "sheddable")];
        let context = extract(&header, Instant::now());
        assert_eq!(
            context.criticality,
            Criticality::Critical,
            "not by its word alone"
        );
        assert!(Criticality::Sheddable < Criticality::SheddablePlus);
        assert!(Criticality::SheddablePlus < Criticality::Critical);
    }
}
