//! How servers accept connections.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::attach::{Attachments, Target, fields};
use super::findings::Findings;
use super::index::Index;
use crate::error::Code;
use crate::identity::check_trust_domain;
use crate::name::ServiceName;
use crate::policy::model::{Exception, Network, OnPort, TransportModel};
use crate::policy::spec::{Kind, PlaintextException, Resource, TransportPolicySpec};

/// The values of every TransportPolicy, used or not.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for resource in index.resources.values() {
        let Resource::TransportPolicy(policy) = &***resource else {
            continue;
        };
        for (n, domain) in policy.spec.trust_domains.iter().enumerate() {
            if let Err(error) = check_trust_domain(domain) {
                let at = format!("spec.trustDomains[{n}]");
                findings.error(resource, at, Code::POLICY_NAME, error.to_string());
            }
        }
        for (n, exception) in policy.spec.exceptions.iter().enumerate() {
            let at = format!("spec.exceptions[{n}]");
            if self::exception(exception).is_some() {
                continue;
            }
            if instant(&exception.expires).is_none() {
                let message = format!("`{}` is no date", exception.expires);
                findings
                    .error(
                        resource,
                        format!("{at}.expires"),
                        Code::POLICY_RANGE,
                        message,
                    )
                    .help("such as 2026-12-31 or 2026-12-31T18:00:00Z");
            } else {
                let source = exception.source.as_deref().unwrap_or_default();
                let message = format!("`{source}` is neither an address nor a network");
                findings
                    .error(
                        resource,
                        format!("{at}.source"),
                        Code::POLICY_RANGE,
                        message,
                    )
                    .help("such as 10.0.0.7 or 10.0.0.0/8");
            }
        }
        let ports = policy.spec.target_refs.iter().any(|t| t.port.is_some());
        let more = policy.spec.min_tls_version.is_some()
            || !policy.spec.trust_domains.is_empty()
            || !policy.spec.exceptions.is_empty();
        if ports && more {
            let message = "on a single port only `mtls` can be set";
            findings
                .error(resource, "spec", Code::POLICY_RANGE, message)
                .help("an exception has a `port` of its own; set the rest for the whole service");
        }
    }
}

/// What holds for the service: mesh < namespace < service < subset, per top-level field. A mode on
/// one port is more specific than one on all, but for a subset that says itself what holds.
pub(super) fn for_service(attached: &Attachments<'_>, name: &ServiceName) -> TransportModel {
    let mut out = TransportModel::default();
    for policy in attached.for_service(Kind::TransportPolicy, name) {
        set(&mut out, policy);
    }
    let own = attached.at(Kind::TransportPolicy, Target::Service(name.clone(), None));
    let says = own.iter().any(|policy| fields(policy).contains(&"mtls"));
    let whole = attached.whole(name).filter(|_| !says);
    for name in std::iter::once(name).chain(whole) {
        for (port, resource) in attached.on_ports(Kind::TransportPolicy, name) {
            if let Resource::TransportPolicy(policy) = resource
                && let Some(mtls) = policy.spec.mtls
            {
                let origin = resource.id();
                out.ports.push(OnPort { port, mtls, origin });
                out.explicit = true;
            }
        }
    }
    out
}

/// What holds for services about which nothing more specific is said.
pub(super) fn for_rest(attached: &Attachments<'_>, namespace: Option<&str>) -> TransportModel {
    let mut out = TransportModel::default();
    let namespace = namespace.map(|n| Target::Namespace(n.to_owned()));
    for target in [Some(Target::Mesh), namespace].into_iter().flatten() {
        for policy in attached.at(Kind::TransportPolicy, target) {
            set(&mut out, policy);
        }
    }
    out
}

fn set(out: &mut TransportModel, resource: &Resource) {
    let Resource::TransportPolicy(policy) = resource else {
        return;
    };
    for field in fields(resource) {
        out.origins.set(field, resource.id());
    }
    let TransportPolicySpec {
        mtls,
        min_tls_version,
        trust_domains,
        exceptions,
        ..
    } = &policy.spec;
    if let Some(mtls) = mtls {
        out.mtls = *mtls;
        out.explicit = true;
    }
    if let Some(version) = min_tls_version {
        out.min_version = *version;
    }
    if !trust_domains.is_empty() {
        out.trust_domains = trust_domains
            .iter()
            .map(|d| Arc::from(d.as_str()))
            .collect();
    }
    if !exceptions.is_empty() {
        out.exceptions = exceptions.iter().filter_map(exception).collect();
    }
}

fn exception(spec: &PlaintextException) -> Option<Exception> {
    let source = match &spec.source {
        None => None,
        Some(text) => Some(Network::parse(text)?),
    };
    Some(Exception {
        source,
        port: spec.port,
        expires: instant(&spec.expires)?,
        reason: spec.reason.as_deref().map(Into::into),
    })
}

/// `2026-12-31` (the end of that day) or `2026-12-31T18:00:00Z` (RFC 3339, UTC).
pub(super) fn instant(text: &str) -> Option<SystemTime> {
    let (date, time) = match text.split_once('T') {
        None => (text, None),
        Some((date, time)) => (date, Some(time.strip_suffix('Z')?)),
    };
    let number = |text: Option<&str>, digits: usize| -> Option<u64> {
        let text = text?;
        let plain = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| text.parse().ok()).flatten()
    };
    let mut parts = date.split('-');
    let year = number(parts.next(), 4)?;
    let month = number(parts.next(), 2)?;
    let day = number(parts.next(), 2)?;
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if parts.next().is_some() || year < 1970 || !(1..=last).contains(&day) {
        return None;
    }
    let seconds = match time {
        None => 86_400,
        Some(time) => {
            let mut parts = time.split(':');
            let (hour, minute, second) = (
                number(parts.next(), 2)?,
                number(parts.next(), 2)?,
                number(parts.next(), 2)?,
            );
            if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 {
                return None;
            }
            hour * 3600 + minute * 60 + second
        }
    };
    // Days since 1970-01-01 in the proleptic Gregorian calendar, counted in years from March.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(days * 86_400 + seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_the_end_of_its_day() {
        let seconds = |text| {
            let instant = instant(text)?;
            instant
                .duration_since(SystemTime::UNIX_EPOCH)
                .ok()
                .map(|d| d.as_secs())
        };
        assert_eq!(seconds("1970-01-01"), Some(86_400));
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2000-02-29T12:00:00Z"), Some(951_825_600));
        assert_eq!(seconds("2026-12-31T23:59:59Z"), Some(1_798_761_599));
        for bad in [
            "",
            "2026",
            "2026-13-01",
            "2026-02-29",
            "2026-1-1",
            "26-01-01",
            "2026-01-01T1",
        ] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
