//! Which hosts a certificate is good for.

use std::net::IpAddr;

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Names of one certificate that are looked at; a public one has at most 100.
const MOST: usize = 1_000;

/// The names that a certificate proves, in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// `www.example.com`.
    pub(super) exact: Vec<Box<str>>,
    /// `example.com` for `*.example.com`.
    pub(super) wildcards: Vec<Box<str>>,
    addresses: Vec<IpAddr>,
}

// === impl Names ===

impl Names {
    /// Reads the subject alternative names; the common name has not counted for years (RFC 9525 2).
    pub(super) fn of(leaf: &[u8]) -> Result<Self, String> {
        let (_, leaf) = X509Certificate::from_der(leaf)
            .map_err(|_| "it is not an X.509 certificate".to_owned())?;
        let found = leaf
            .subject_alternative_name()
            .map_err(|_| "its names cannot be read, or are given twice".to_owned())?;
        let mut names = Self::default();
        let found = found.iter().flat_map(|found| &found.value.general_names);
        for name in found.take(MOST) {
            match name {
                GeneralName::DNSName(name) => {
                    let name = name.trim_end_matches('.').to_ascii_lowercase();
                    match name.strip_prefix("*.") {
                        Some(rest) if !rest.contains('*') => names.wildcards.push(rest.into()),
                        None if !name.contains('*') && !name.is_empty() => {
                            names.exact.push(name.into());
                        }
                        // `w*.example.com` is no name that anybody matches any more.
                        _ => {}
                    }
                }
                GeneralName::IPAddress(bytes) => names.addresses.extend(address(bytes)),
                _ => {}
            }
        }
        Ok(names)
    }

    /// Whether there is none that a client could ask for.
    pub(super) fn is_nobody(&self) -> bool {
        self.exact.is_empty() && self.wildcards.is_empty() && self.addresses.is_empty()
    }

    /// Whether the certificate is good for the host of a request, which has no port.
    pub(crate) fn covers(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        let is = |name: &str, host: &str| name.eq_ignore_ascii_case(host);
        if self.exact.iter().any(|name| is(name, host)) {
            return true;
        }
        if let Some((label, rest)) = host.split_once('.')
            && !label.is_empty()
            && self.wildcards.iter().any(|name| is(name, rest))
        {
            return true;
        }
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        !self.addresses.is_empty()
            && literal
                .parse::<IpAddr>()
                .is_ok_and(|host| self.addresses.contains(&host))
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}
