//! How a value of the schema and its message become each other.
//!
//! Writing cannot fail; reading says at which field it did, in the names of the policy language.

use std::{collections::BTreeMap, fmt};

use mesh_core::policy::spec::{Interval, Ratio, StatusRange};

/// A message does not hold what its type says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireError {
    path: String,
    message: String,
}

impl WireError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            path: String::new(),
            message: message.into(),
        }
    }

    /// Puts the error below a field.
    pub(crate) fn at(mut self, field: impl fmt::Display) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') {
            ""
        } else {
            "."
        };
        self.path = format!("{field}{dot}{}", self.path);
        self
    }

    /// Says which resource it is about.
    pub(crate) fn of(mut self, resource: &str) -> Self {
        self.path = format!("{resource} {}", self.path);
        self
    }

    /// Where, such as `shop/reviews spec.rules[0].timeouts.request`.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for WireError {}

/// A value of the schema with the message or field type `P`.
pub(super) trait Wire<P>: Sized {
    fn to_wire(&self) -> P;
    fn from_wire(wire: P) -> Result<Self, WireError>;
}

impl Wire<Self> for String {
    fn to_wire(&self) -> Self {
        self.clone()
    }
    fn from_wire(wire: Self) -> Result<Self, WireError> {
        Ok(wire)
    }
}

impl Wire<Self> for bool {
    fn to_wire(&self) -> Self {
        *self
    }
    fn from_wire(wire: Self) -> Result<Self, WireError> {
        Ok(wire)
    }
}

impl Wire<Self> for u32 {
    fn to_wire(&self) -> Self {
        *self
    }
    fn from_wire(wire: Self) -> Result<Self, WireError> {
        Ok(wire)
    }
}

impl Wire<u32> for u16 {
    fn to_wire(&self) -> u32 {
        (*self).into()
    }
    fn from_wire(wire: u32) -> Result<Self, WireError> {
        Self::try_from(wire).map_err(|_| WireError::new(format!("{wire} is more than 65535")))
    }
}

impl Wire<u64> for Interval {
    fn to_wire(&self) -> u64 {
        u64::try_from(self.get().as_millis()).unwrap_or(u64::MAX)
    }
    fn from_wire(wire: u64) -> Result<Self, WireError> {
        let interval = Self::new(std::time::Duration::from_millis(wire));
        if Wire::<u64>::to_wire(&interval) != wire {
            return Err(WireError::new(format!(
                "{wire} ms is longer than a duration can be"
            )));
        }
        Ok(interval)
    }
}

impl Wire<u32> for Ratio {
    fn to_wire(&self) -> u32 {
        self.milli()
    }
    fn from_wire(wire: u32) -> Result<Self, WireError> {
        Ok(Self::from_milli(wire))
    }
}

impl Wire<String> for StatusRange {
    fn to_wire(&self) -> String {
        self.to_string()
    }
    fn from_wire(wire: String) -> Result<Self, WireError> {
        wire.parse().map_err(WireError::new)
    }
}

impl Wire<Self> for BTreeMap<String, String> {
    fn to_wire(&self) -> Self {
        self.clone()
    }
    fn from_wire(wire: Self) -> Result<Self, WireError> {
        Ok(wire)
    }
}

impl<P, T: Wire<P>> Wire<Option<P>> for Option<T> {
    fn to_wire(&self) -> Option<P> {
        self.as_ref().map(Wire::to_wire)
    }
    fn from_wire(wire: Option<P>) -> Result<Self, WireError> {
        wire.map(T::from_wire).transpose()
    }
}

impl<P, T: Wire<P>> Wire<Vec<P>> for Vec<T> {
    fn to_wire(&self) -> Vec<P> {
        self.iter().map(Wire::to_wire).collect()
    }
    fn from_wire(wire: Vec<P>) -> Result<Self, WireError> {
        let item =
            |(ix, item)| T::from_wire(item).map_err(|error| error.at(format_args!("[{ix}]")));
        wire.into_iter().enumerate().map(item).collect()
    }
}

/// A struct of the schema: its fields, each with its key in a policy text. `required`: a message that must be there.
macro_rules! wire {
    ($name:ident { $($field:tt)* }) => {
        wire!(@fields $name [] [] $($field)*);
    };
    (@fields $name:ident [$($plain:ident $key:literal)*] [$($required:ident $required_key:literal)*]) => {
        #[cfg(test)]
        impl super::tests::Sample for spec::$name {
            #[allow(unused_variables)]
            fn sample(rng: &mut fastrand::Rng) -> Self {
                Self {
                    $($plain: super::tests::Sample::sample(rng),)*
                    $($required: super::tests::Sample::sample(rng),)*
                }
            }
        }

        impl Wire<pb::$name> for spec::$name {
            fn to_wire(&self) -> pb::$name {
                pb::$name {
                    $($plain: Wire::to_wire(&self.$plain),)*
                    $($required: Some(Wire::to_wire(&self.$required)),)*
                }
            }
            #[allow(unused_variables)]
            fn from_wire(wire: pb::$name) -> Result<Self, WireError> {
                Ok(Self {
                    $($plain: Wire::from_wire(wire.$plain).map_err(|error| error.at($key))?,)*
                    $($required: wire
                        .$required
                        .ok_or_else(|| WireError::new("missing"))
                        .and_then(Wire::from_wire)
                        .map_err(|error| error.at($required_key))?,)*
                })
            }
        }
    };
    (@fields $name:ident [$($plain:tt)*] [$($required:tt)*] required $field:ident $key:literal $(, $($rest:tt)*)?) => {
        wire!(@fields $name [$($plain)*] [$($required)* $field $key] $($($rest)*)?);
    };
    (@fields $name:ident [$($plain:tt)*] [$($required:tt)*] $field:ident $key:literal $(, $($rest:tt)*)?) => {
        wire!(@fields $name [$($plain)* $field $key] [$($required)*] $($($rest)*)?);
    };
}

/// A choice of the schema, written as in a policy text.
macro_rules! wire_choice {
    ($($name:ident),* $(,)?) => {$(
        #[cfg(test)]
        impl super::tests::Sample for spec::$name {
            fn sample(rng: &mut fastrand::Rng) -> Self {
                let text = spec::$name::CHOICES[rng.usize(..spec::$name::CHOICES.len())];
                Self::from_wire(text.to_owned()).expect("a choice")
            }
        }

        impl Wire<String> for spec::$name {
            fn to_wire(&self) -> String {
                self.as_str().to_owned()
            }
            fn from_wire(wire: String) -> Result<Self, WireError> {
                serde_json::from_value(serde_json::Value::String(wire.clone())).map_err(|_| {
                    WireError::new(format!("`{wire}` is none of: {}", spec::$name::CHOICES.join(", ")))
                })
            }
        }
    )*};
}

/// A list that may be absent as a whole.
macro_rules! wire_list {
    ($($name:ident in $list:ident),* $(,)?) => {$(
        impl Wire<pb::$list> for Vec<spec::$name> {
            fn to_wire(&self) -> pb::$list {
                pb::$list { items: self.iter().map(Wire::to_wire).collect() }
            }
            fn from_wire(wire: pb::$list) -> Result<Self, WireError> {
                Wire::from_wire(wire.items)
            }
        }
    )*};
}

pub(super) use {wire, wire_choice, wire_list};
