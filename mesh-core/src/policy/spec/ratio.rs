use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Decode, Encode};
use crate::policy::text::{Decoder, Node, Tree};

/// A number of at most three decimals that is not negative, such as `1.5`; held in thousandths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ratio(u32);

/// A range of HTTP status codes, `204` or `200-299`, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatusRange {
    first: u16,
    last: u16,
}

// === impl Ratio ===

impl Ratio {
    /// So many thousandths.
    pub const fn from_milli(milli: u32) -> Self {
        Self(milli)
    }

    /// In thousandths.
    pub const fn milli(self) -> u32 {
        self.0
    }

    /// `None` for what is negative, too large or has more than three decimals.
    pub fn from_f64(number: f64) -> Option<Self> {
        let milli = (number * 1000.0).round();
        let exact = (number * 1000.0 - milli).abs() < 1e-6;
        (exact && (0.0..=f64::from(u32::MAX)).contains(&milli)).then_some(Self(milli as u32))
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 1000, self.0 % 1000);
        match part {
            0 => write!(f, "{whole}"),
            part => {
                let digits = format!("{part:03}");
                write!(f, "{whole}.{}", digits.trim_end_matches('0'))
            }
        }
    }
}

impl fmt::Debug for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Ratio {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 % 1000 {
            0 => serializer.serialize_u32(self.0 / 1000),
            _ => serializer.serialize_f64(f64::from(self.0) / 1000.0),
        }
    }
}

impl<'de> Deserialize<'de> for Ratio {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = f64::deserialize(deserializer)?;
        Self::from_f64(number)
            .ok_or_else(|| de::Error::custom(format!("{number} has too many digits")))
    }
}

impl Decode for Ratio {
    fn decode(node: &Node, cx: &mut Decoder) -> Option<Self> {
        cx.ratio(node)
    }
}

impl Encode for Ratio {
    fn encode(&self) -> Tree {
        Tree::Milli(self.0)
    }
}

// === impl StatusRange ===

impl StatusRange {
    /// From `first` to `last`, both included.
    pub const fn new(first: u16, last: u16) -> Self {
        Self { first, last }
    }

    /// The first one.
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The last one.
    pub const fn last(self) -> u16 {
        self.last
    }
}

impl Default for StatusRange {
    fn default() -> Self {
        Self::new(200, 299)
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self { first, last } if first == last => write!(f, "{first}"),
            Self { first, last } => write!(f, "{first}-{last}"),
        }
    }
}

impl fmt::Debug for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for StatusRange {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) => Ok(Self { first, last }),
            _ => Err("a range of status codes is written like 204 or 200-299"),
        }
    }
}

impl Serialize for StatusRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StatusRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl Decode for StatusRange {
    fn decode(node: &Node, cx: &mut Decoder) -> Option<Self> {
        cx.status_range(node)
    }
}

impl Encode for StatusRange {
    fn encode(&self) -> Tree {
        match self.first == self.last {
            true => Tree::Int(self.first.into()),
            false => Tree::Str(self.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_written_as_it_was_read() {
        for (number, text) in [
            (1.5, "1.5"),
            (1.0, "1"),
            (0.001, "0.001"),
            (1.9, "1.9"),
            (85.0, "85"),
        ] {
            let ratio = Ratio::from_f64(number).unwrap();
            assert_eq!(ratio.to_string(), text);
            let json = serde_json::to_string(&ratio).unwrap();
            assert_eq!(serde_json::from_str::<Ratio>(&json).unwrap(), ratio);
        }
        assert_eq!(Ratio::from_f64(0.0001), None);
        assert_eq!(Ratio::from_f64(-1.0), None);
        assert_eq!(Ratio::from_f64(f64::NAN), None);
        assert_eq!(Ratio::from_f64(5e6), None);
    }

    #[test]
    fn a_range_of_statuses_is_one_or_from_to() {
        assert_eq!("204".parse(), Ok(StatusRange::new(204, 204)));
        assert_eq!("200-299".parse(), Ok(StatusRange::new(200, 299)));
        assert!("2xx".parse::<StatusRange>().is_err());
    }
}
