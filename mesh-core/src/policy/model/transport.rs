use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::Origins;
use crate::policy::defaults;
use crate::policy::spec::ResourceId;
pub use crate::policy::spec::{MtlsMode, TlsVersion};

/// How servers of a service accept connections.
#[derive(Clone, Debug, PartialEq)]
pub struct TransportModel {
    pub(crate) mtls: MtlsMode,
    pub(crate) explicit: bool,
    pub(crate) ports: Vec<OnPort>,
    pub(crate) min_version: TlsVersion,
    pub(crate) trust_domains: Vec<Arc<str>>,
    pub(crate) exceptions: Vec<Exception>,
    pub(crate) origins: Origins,
}

/// What a policy says of one port.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OnPort {
    pub(crate) port: u16,
    pub(crate) mtls: MtlsMode,
    pub(crate) origin: ResourceId,
}

/// Callers that may use plaintext until a date.
#[derive(Clone, Debug, PartialEq)]
pub struct Exception {
    pub(crate) source: Option<Network>,
    pub(crate) port: Option<u16>,
    pub(crate) expires: SystemTime,
    pub(crate) reason: Option<Arc<str>>,
}

/// An address with the number of leading bits that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

// === impl TransportModel ===

impl Default for TransportModel {
    fn default() -> Self {
        Self {
            mtls: MtlsMode::Strict,
            explicit: false,
            ports: Vec::new(),
            min_version: defaults::MIN_TLS_VERSION,
            trust_domains: Vec::new(),
            exceptions: Vec::new(),
            origins: Origins::default(),
        }
    }
}

impl TransportModel {
    /// Whether callers on `port` must prove who they are. Without any policy the answer is
    /// `Strict`, which holds for servers that have an identity themselves.
    pub fn mtls(&self, port: Option<u16>) -> MtlsMode {
        self.on_port(port).map_or(self.mtls, |found| found.mtls)
    }

    fn on_port(&self, port: Option<u16>) -> Option<&OnPort> {
        self.ports.iter().find(|found| Some(found.port) == port)
    }

    /// The policy that sets a top-level field of a TransportPolicy, such as `minTlsVersion`, for
    /// all ports; `None` where nobody does.
    pub fn origin(&self, field: &str) -> Option<&ResourceId> {
        self.origins.of(field)
    }

    /// The policy that sets `mtls` for this port alone.
    pub fn port_origin(&self, port: u16) -> Option<&ResourceId> {
        self.on_port(Some(port)).map(|found| &found.origin)
    }

    /// Whether a policy said so, as against the built-in default.
    pub fn is_explicit(&self) -> bool {
        self.explicit
    }

    /// Least version of TLS of a handshake from now on.
    pub fn min_version(&self) -> TlsVersion {
        self.min_version
    }

    /// Trust domains whose callers are accepted; empty means the own one.
    pub fn trust_domains(&self) -> &[Arc<str>] {
        &self.trust_domains
    }

    /// Callers that may use plaintext for a while.
    pub fn exceptions(&self) -> &[Exception] {
        &self.exceptions
    }

    /// Whether plaintext from `source` to `port` is accepted at `now`.
    pub fn accepts_plaintext(&self, source: IpAddr, port: u16, now: SystemTime) -> bool {
        match self.mtls(Some(port)) {
            MtlsMode::Permissive | MtlsMode::Disabled => true,
            MtlsMode::Strict => self.exceptions.iter().any(|e| e.covers(source, port, now)),
        }
    }

    /// How long plaintext from `source` to `port`, which is accepted at `now` by an exception alone,
    /// stays accepted. `None` where nothing ends: the mode itself accepts it, or nothing does.
    pub fn plaintext_until(
        &self,
        source: IpAddr,
        port: u16,
        now: SystemTime,
    ) -> Option<SystemTime> {
        if self.mtls(Some(port)) != MtlsMode::Strict {
            return None;
        }
        let covering = self.exceptions.iter();
        let covering = covering.filter(|e| e.covers(source, port, now));
        covering.map(Exception::expires).max()
    }

    /// The same with another mode for all ports.
    #[must_use]
    pub fn with_mtls(mut self, mtls: MtlsMode) -> Self {
        self.mtls = mtls;
        self.explicit = true;
        self
    }
}

// === impl Exception ===

impl Exception {
    /// Whether plaintext from `source` to `port` is accepted at `now`.
    pub fn covers(&self, source: IpAddr, port: u16, now: SystemTime) -> bool {
        now < self.expires
            && self.port.is_none_or(|p| p == port)
            && self.source.is_none_or(|network| network.contains(source))
    }

    /// The addresses that it is for; `None` is any.
    pub fn source(&self) -> Option<Network> {
        self.source
    }

    /// The port that it is for; `None` is any.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// First moment at which it is over.
    pub fn expires(&self) -> SystemTime {
        self.expires
    }

    /// Why it is there.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }
}

// === impl Network ===

impl Network {
    /// Reads `10.0.0.0/8`, `fd00::/8` or a single address.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            None => (text, None),
            Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Self { address, bits })
    }

    /// Whether `address` belongs to it. An IPv4 address mapped into IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let differ = u32::from(a) ^ u32::from(b);
                differ.checked_shr(32 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let differ = u128::from(a) ^ u128::from(b);
                differ.checked_shr(128 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = if self.address.is_ipv4() { 32 } else { 128 };
        match self.bits == all {
            true => write!(f, "{}", self.address),
            false => write!(f, "{}/{}", self.address, self.bits),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_network_holds_its_addresses() {
        let holds = |n: &str, a: &str| Network::parse(n).unwrap().contains(a.parse().unwrap());
        assert!(holds("10.0.0.0/8", "10.1.2.3") && !holds("10.0.0.0/8", "11.0.0.0"));
        assert!(holds("0.0.0.0/0", "1.2.3.4") && holds("::/0", "::1"));
        assert!(holds("10.0.0.1", "10.0.0.1") && !holds("10.0.0.1", "10.0.0.2"));
        assert!(holds("10.0.0.0/8", "::ffff:10.0.0.1") && holds("fd00::/8", "fd12::1"));
        for text in ["10.0.0.0/8", "10.0.0.1", "fd00::/8", "::/0", "::1"] {
            assert_eq!(Network::parse(text).unwrap().to_string(), text);
        }
        assert!(Network::parse("10.0.0.0/33").is_none() && Network::parse("x").is_none());
    }

    #[test]
    fn an_exception_ends() {
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let model = TransportModel {
            exceptions: vec![Exception {
                source: Network::parse("10.0.0.0/8"),
                port: Some(80),
                expires: end,
                reason: None,
            }],
            ..TransportModel::default()
        };
        let source = "10.0.0.1".parse().unwrap();
        let before = end - Duration::from_secs(1);
        assert!(model.accepts_plaintext(source, 80, before));
        assert!(!model.accepts_plaintext(source, 80, end));
        assert!(!model.accepts_plaintext(source, 81, before));
        assert!(!model.accepts_plaintext("11.0.0.1".parse().unwrap(), 80, before));

        // When who is in by it has to go: with the last of those that cover it.
        assert_eq!(model.plaintext_until(source, 80, before), Some(end));
        assert_eq!(model.plaintext_until(source, 80, end), None);
        assert_eq!(model.plaintext_until(source, 81, before), None);
        let mut longer = model.clone();
        longer.exceptions.push(Exception {
            expires: end + Duration::from_secs(5),
            ..model.exceptions[0].clone()
        });
        let until = longer.plaintext_until(source, 80, before);
        assert_eq!(until, Some(end + Duration::from_secs(5)));
        let open = longer.with_mtls(MtlsMode::Permissive);
        assert_eq!(open.plaintext_until(source, 80, before), None);
    }
}
