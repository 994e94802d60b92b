use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{ErrorKind, registry};

/// The number of an error page: `M2003`.
///
/// | range | about |
/// | --- | --- |
/// | M1xxx | environment and command line |
/// | M2xxx | calls |
/// | M3xxx | policy |
/// | M4xxx | identity and access |
/// | M5xxx | findings of the control server |
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u16);

/// What is known about a code: the text of its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeInfo {
    /// The code.
    pub code: Code,
    /// A few words, lower case, without a full stop.
    pub title: &'static str,
    /// The kind of call error that has this code, if it is one.
    pub kind: Option<ErrorKind>,
    /// What it means, in one to three sentences.
    pub what: &'static str,
    /// What leads to it, the most frequent first.
    pub causes: &'static [&'static str],
    /// What to do, each a sentence, with the command in backquotes where there is one.
    pub next: &'static [&'static str],
}

/// The text is not a code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an error code; codes look like M2003")]
pub struct CodeError(String);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// Every code that the mesh uses.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name),*];
        }
    };
}

codes! {
    /// An environment variable `MESH_*` that does not exist.
    UNKNOWN_VARIABLE = 1001;
    /// The control server does not answer.
    CONTROL_UNREACHABLE = 1002;
    /// A configuration value that cannot be used.
    BAD_CONFIGURATION = 1003;
    /// A port that another process listens on.
    PORT_IN_USE = 1004;
    /// A certificate of an ingress that cannot be used.
    INGRESS_CERTIFICATE = 1005;
    /// No route matched.
    NO_ROUTE = 2001;
    /// No endpoint is known.
    NO_ENDPOINTS = 2002;
    /// No endpoint could serve the call.
    EJECTED = 2003;
    /// The breaker is open.
    BREAKER_OPEN = 2004;
    /// A ceiling was reached.
    CEILING = 2005;
    /// The client holds calls back.
    THROTTLED = 2006;
    /// A rate limit was reached.
    RATE_LIMITED = 2007;
    /// The call's deadline passed.
    DEADLINE = 2008;
    /// An attempt took too long.
    ATTEMPT_TIMEOUT = 2009;
    /// No connection.
    CONNECT = 2010;
    /// A name does not resolve.
    DNS = 2011;
    /// The peer broke the protocol.
    PROTOCOL = 2012;
    /// The retry budget is empty.
    BUDGET_EMPTY = 2013;
    /// The service sheds load.
    OVERLOADED = 2014;
    /// The process is shutting down.
    DRAINING = 2015;
    /// The application behind a shim did not take the request.
    UNREACHED = 2016;
    /// The application behind a shim broke off before its answer.
    UNANSWERED = 2017;
    /// A fault that a policy makes on purpose.
    FAULT_INJECTED = 2020;
    /// An answer that a rule gives itself.
    DIRECT_RESPONSE = 2021;
    /// A defect of the mesh.
    INTERNAL = 2099;
    /// No usable policy.
    POLICY = 3000;
    /// Not YAML.
    POLICY_SYNTAX = 3001;
    /// A field that does not exist.
    POLICY_UNKNOWN_FIELD = 3002;
    /// A key given twice.
    POLICY_DUPLICATE_KEY = 3003;
    /// A value of the wrong type.
    POLICY_WRONG_TYPE = 3004;
    /// A duration without a usable unit.
    POLICY_DURATION = 3005;
    /// A field that must be given.
    POLICY_MISSING_FIELD = 3006;
    /// An unknown kind or apiVersion.
    POLICY_UNKNOWN_KIND = 3007;
    /// A value out of its range.
    POLICY_RANGE = 3008;
    /// A reference to nothing.
    POLICY_REFERENCE = 3009;
    /// All weights are zero.
    POLICY_ZERO_WEIGHTS = 3010;
    /// The attempts do not fit the timeout.
    POLICY_ATTEMPTS_TIMEOUT = 3011;
    /// A rule that an earlier one hides.
    POLICY_SHADOWED = 3012;
    /// Two routes that overlap on one parent.
    POLICY_OVERLAP = 3013;
    /// Retry of a method that is not idempotent.
    POLICY_RETRY_UNSAFE = 3014;
    /// An ejection cap that can empty the pool.
    POLICY_EJECTION_CAP = 3015;
    /// Too few consecutive errors.
    POLICY_EJECTION_EAGER = 3016;
    /// A policy that touches nothing.
    POLICY_UNUSED = 3017;
    /// Two policies on one target and field.
    POLICY_CONFLICT = 3018;
    /// An access rule that does not say from whom.
    POLICY_ACCESS_FROM = 3019;
    /// A regular expression that does not compile.
    POLICY_REGEX = 3020;
    /// Two resources of one name.
    POLICY_DUPLICATE_NAME = 3021;
    /// A bad name, label or host.
    POLICY_NAME = 3022;
    /// More policy than is accepted.
    POLICY_TOO_LARGE = 3023;
    /// Something that should be for a while, and has no end.
    POLICY_ENDLESS = 3024;
    /// An access policy refused the call.
    DENIED = 4001;
    /// A TLS handshake failed.
    TLS = 4002;
    /// Not the expected identity.
    IDENTITY = 4003;
    /// A certificate is expired or not yet valid.
    CERTIFICATE_TIME = 4004;
    /// The join token was refused.
    TOKEN_REFUSED = 4005;
    /// The certificate request was refused.
    CSR_REFUSED = 4006;
    /// The shim lets nothing out to a host that the policy does not know.
    EGRESS_DENIED = 4007;
    /// A lease ran out.
    LEASE_LOST = 5001;
    /// A client refused a policy update.
    UPDATE_REFUSED = 5002;
    /// The state directory cannot be used.
    STATE_UNUSABLE = 5003;
    /// A client runs an older policy.
    CLIENT_BEHIND = 5004;
    /// An endpoint fails or is slow against its peers.
    ENDPOINT_FAILING = 5005;
    /// Traffic is denied by policy.
    TRAFFIC_DENIED = 5006;
    /// Peers' certificates are refused.
    PEERS_REFUSED = 5007;
    /// Calls come past the split of a route.
    SPLIT_BYPASSED = 5011;
    /// Callers that are not in the mesh.
    NOT_IN_MESH = 5012;
    /// An exception from mutual TLS ends, or has ended.
    EXCEPTION_ENDS = 5013;
}

// === impl Code ===

impl Code {
    /// The code with this number, if the mesh uses it.
    pub fn new(number: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.0 == number)
    }

    /// The number, such as 2003.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The text of the code's page.
    pub fn info(self) -> Option<&'static CodeInfo> {
        let table = registry();
        table
            .binary_search_by_key(&self, |info| info.code)
            .ok()
            .and_then(|at| table.get(at))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("M{:04}", self.0))
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads `M2003` or `m2003`, and only codes that exist.
impl FromStr for Code {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        let digits = text.strip_prefix(['M', 'm']).unwrap_or_default();
        let plain = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit());
        digits
            .parse()
            .ok()
            .filter(|_| plain)
            .and_then(Self::new)
            .ok_or_else(|| CodeError(text.to_owned()))
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_reads_back_what_it_prints() {
        for &code in Code::ALL {
            assert_eq!(code.to_string().parse(), Ok(code));
            assert_eq!(Code::new(code.number()), Some(code));
        }
        assert_eq!("m2003".parse(), Ok(Code::EJECTED));
        for bad in ["", "2003", "M203", "M20030", "M+203", "M9999", "X2003"] {
            assert!(bad.parse::<Code>().is_err(), "{bad}");
        }
    }
}
