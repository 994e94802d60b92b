//! What can be broken, and what must then hold.

use std::str::FromStr;

/// One fault of the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Break {
    /// `reviews-v1#2` fails 30 % of its calls.
    Flaky,
    /// `reviews-v1#2` takes 400 ms more for each call.
    Slow,
    /// `reviews-v1#2` is killed, as by the kernel.
    Kill,
    /// `ratings` comes back with a certificate of an authority that nobody trusts.
    Cert,
    /// An access policy says that `web` may not call `reviews`.
    Policy,
    /// The control server is killed.
    Control,
}

/// What users must see during a break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    /// At least 99.9 % of calls succeed.
    Unharmed,
    /// Calls fail, at once and with one of these codes: nothing gets through that must not.
    FailsClosed(&'static [&'static str]),
}

impl Break {
    /// In the order of a run. No break must come last for the mesh's sake: a dead instance, listed
    /// until its lease of 15 s ends, costs no call even while the retry budget is empty.
    pub(crate) const ALL: [Self; 6] = [
        Self::Flaky,
        Self::Slow,
        Self::Cert,
        Self::Policy,
        Self::Kill,
        Self::Control,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Flaky => "flaky",
            Self::Slow => "slow",
            Self::Kill => "kill",
            Self::Cert => "cert",
            Self::Policy => "policy",
            Self::Control => "control",
        }
    }

    /// What is done, in words.
    pub(crate) fn story(self) -> &'static str {
        match self {
            Self::Flaky => "reviews-v1#2 now fails 30%",
            Self::Slow => "reviews-v1#2 now takes 400ms longer",
            Self::Kill => "reviews-v1#2 killed with SIGKILL",
            Self::Cert => "ratings now shows a certificate of an unknown authority",
            Self::Policy => "access policy applied: web may not call reviews",
            Self::Control => "control server killed with SIGKILL",
        }
    }

    pub(crate) fn expect(self) -> Expect {
        match self {
            Self::Flaky | Self::Slow | Self::Kill | Self::Control => Expect::Unharmed,
            Self::Cert => Expect::FailsClosed(&["M4002", "M4003"]),
            Self::Policy => Expect::FailsClosed(&["M4001"]),
        }
    }

    /// Codes by which `meshctl check` may name it; none where it cannot be asked.
    pub(crate) fn findings(self) -> &'static [&'static str] {
        match self {
            Self::Flaky | Self::Slow => &["M5005"],
            Self::Kill => &["M5001"],
            Self::Cert => &["M5007", "M4002", "M4003"],
            Self::Policy => &["M5006"],
            Self::Control => &[],
        }
    }
}

impl FromStr for Break {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|fault| fault.name() == text)
            .ok_or_else(|| {
                let names: Vec<&str> = Self::ALL.iter().map(|fault| fault.name()).collect();
                format!("`{text}` is none of {}", names.join(", "))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_break_is_found_by_its_name() {
        for fault in Break::ALL {
            assert_eq!(fault.name().parse(), Ok(fault));
        }
        assert!(
            "fire"
                .parse::<Break>()
                .unwrap_err()
                .contains("flaky, slow, cert")
        );
    }
}
