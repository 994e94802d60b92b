use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Decode, Encode, choice, schema};
use crate::policy::text::{Decoder, Node, Origin, Tree};

schema! {
    /// Who a resource is.
    #[derive(Default)]
    pub struct Metadata {
        /// Its name: a DNS label, unique per kind and namespace.
        name: String = "name";
        /// Its namespace. A text that leaves it out gets the loader's default.
        namespace: String = "namespace" default;
        /// Free labels; a `Service` is selected by them.
        labels: BTreeMap<String, String> = "labels" default;
        /// Notes for people and tools. The mesh reads none of them.
        annotations: BTreeMap<String, String> = "annotations" default;
    }
}

choice! {
    /// What a policy may be attached to, from least to most specific.
    #[derive(PartialOrd, Ord)]
    pub enum TargetKind {
        /// Everything.
        Mesh = "Mesh",
        /// Every service of a namespace.
        Namespace = "Namespace",
        /// One service.
        Service = "Service",
        /// What one HTTP route sends.
        HttpRoute = "HTTPRoute",
        /// What one gRPC route sends.
        GrpcRoute = "GRPCRoute",
    }
}

schema! {
    /// What a policy is attached to. Services and routes are those of the policy's own namespace.
    pub struct TargetRef {
        /// API group; not needed, since the kind says enough.
        group: Option<String> = "group" default;
        /// Kind of the target.
        kind: TargetKind = "kind";
        /// Name of the target. `Mesh` has none; `Namespace` defaults to the policy's own.
        name: Option<String> = "name" default;
        /// One port of a `Service` (TransportPolicy only).
        port: Option<u16> = "port" default;
    }
}

/// A Gateway API duration (GEP-2257): up to four numbers of at most five digits, each with a unit
/// `h`, `m`, `s` or `ms`, such as `500ms` or `1m30s`. Whole milliseconds; at most 99999 hours.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Interval(Duration);

/// Why a text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IntervalError {
    /// A number without a unit.
    #[error("a duration needs a unit: h, m, s or ms")]
    NoUnit,
    /// Anything else.
    #[error("a duration is written like 500ms, 2s or 1m30s")]
    Malformed,
    /// Longer than 99999 hours.
    #[error("a duration is at most 99999h")]
    TooLong,
}

/// Where a resource was written, if it came from a text. Never part of a comparison: the same
/// resource read from two files is the same resource.
#[derive(Clone, Default)]
pub struct Provenance(Option<Arc<Origin>>);

// === impl Interval ===

const LONGEST: Duration = Duration::from_secs(99_999 * 3600);
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

impl Interval {
    /// `duration`, cut to whole milliseconds and to at most 99999 hours.
    pub fn new(duration: Duration) -> Self {
        let millis = duration.min(LONGEST).as_millis();
        Self(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
    }

    /// The duration.
    pub fn get(self) -> Duration {
        self.0
    }
}

impl From<Interval> for Duration {
    fn from(interval: Interval) -> Duration {
        interval.0
    }
}

impl FromStr for Interval {
    type Err = IntervalError;

    fn from_str(text: &str) -> Result<Self, IntervalError> {
        let mut rest = text;
        let mut millis: u64 = 0;
        let mut parts = 0;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, tail) = rest.split_at(digits);
            let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
            let (unit, tail) = tail.split_at(letters);
            if digits > 0 && unit.is_empty() && tail.is_empty() {
                return Err(IntervalError::NoUnit);
            }
            let scale = UNITS.iter().find(|(name, _)| *name == unit);
            let (Some((_, scale)), 1..=5, 0..4) = (scale, digits, parts) else {
                return Err(IntervalError::Malformed);
            };
            let number: u64 = number.parse().map_err(|_| IntervalError::Malformed)?;
            millis += number * scale;
            parts += 1;
            rest = tail;
        }
        match Duration::from_millis(millis) {
            _ if parts == 0 => Err(IntervalError::Malformed),
            duration if duration > LONGEST => Err(IntervalError::TooLong),
            duration => Ok(Self(duration)),
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut millis = u64::try_from(self.0.as_millis()).unwrap_or(0);
        if millis == 0 {
            return f.write_str("0s");
        }
        // The one-unit form reads best where it is allowed: 1500ms, not 1s500ms.
        if millis < 10_000 && millis % 1000 != 0 {
            return write!(f, "{millis}ms");
        }
        for (unit, scale) in UNITS {
            if millis >= scale {
                write!(f, "{}{unit}", millis / scale)?;
                millis %= scale;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Interval {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl Decode for Interval {
    fn decode(node: &Node, cx: &mut Decoder) -> Option<Self> {
        cx.interval(node)
    }
}

impl Encode for Interval {
    fn encode(&self) -> Tree {
        Tree::Str(self.to_string())
    }
}

// === impl Provenance ===

impl Provenance {
    /// The place `origin`.
    pub fn new(origin: Arc<Origin>) -> Self {
        Self(Some(origin))
    }

    /// The place, if it is known.
    pub fn origin(&self) -> Option<&Arc<Origin>> {
        self.0.as_ref()
    }
}

impl PartialEq for Provenance {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(origin) => fmt::Debug::fmt(origin, f),
            None => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_follow_gep_2257() {
        for (text, millis) in [
            ("500ms", 500),
            ("2s", 2000),
            ("1m30s", 90_000),
            ("1h", 3_600_000),
            ("0s", 0),
            ("1500ms", 1500),
            ("2h45m10s5ms", 9_910_005),
        ] {
            let interval: Interval = text.parse().unwrap();
            assert_eq!(interval.get(), Duration::from_millis(millis), "{text}");
            assert_eq!(interval.to_string(), text, "written as it was read");
        }
        for (text, error) in [
            ("2", IntervalError::NoUnit),
            ("1s5", IntervalError::NoUnit),
            ("", IntervalError::Malformed),
            ("1.5s", IntervalError::Malformed),
            ("-1s", IntervalError::Malformed),
            ("1us", IntervalError::Malformed),
            ("123456s", IntervalError::Malformed),
            ("1h1m1s1ms1h", IntervalError::Malformed),
            ("99999h1s", IntervalError::TooLong),
        ] {
            assert_eq!(text.parse::<Interval>(), Err(error), "{text}");
        }
    }
}
