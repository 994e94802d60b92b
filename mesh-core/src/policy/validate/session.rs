//! Calls of one session go to one endpoint.

use std::sync::Arc;

use super::findings::Findings;
use super::hash;
use super::ranges::Ranges;
use crate::error::Code;
use crate::policy::model::{SessionLifetime, SessionPolicy, SessionType};
use crate::policy::spec::{Interval, Resource, SessionPersistence};

/// `rule` is the rule's name, from which a session without a name has its own.
pub(super) fn compile(
    resource: &Resource,
    at: &str,
    spec: &SessionPersistence,
    rule: &str,
    findings: &mut Findings,
) -> Option<Arc<SessionPolicy>> {
    // Paths of `Ranges` are below `spec`.
    let at = at.strip_prefix("spec.").unwrap_or(at);
    let at = |field: &str| format!("{at}.sessionPersistence.{field}");
    let mut ranges = Ranges { resource, findings };
    let kind = spec.kind.unwrap_or(SessionType::Cookie);
    let cookie = spec.cookie_config.clone().unwrap_or_default();
    let lifetime = cookie.lifetime_type.unwrap_or(SessionLifetime::Session);
    // Gateway API: without a name a unique one is made.
    let plain = |c: char| c.is_ascii_alphanumeric();
    let made = || format!("mesh-{}", rule.replace(|c: char| !plain(c), "-"));
    let name = spec.session_name.clone().unwrap_or_else(made);
    match kind {
        SessionType::Cookie => hash::cookie(&mut ranges, &at("sessionName"), &name),
        SessionType::Header => hash::header(&mut ranges, &at("sessionName"), &name),
    }
    ranges.positive(&at("absoluteTimeout"), spec.absolute_timeout);
    ranges.positive(&at("idleTimeout"), spec.idle_timeout);
    if let (Some(idle), Some(absolute)) = (spec.idle_timeout, spec.absolute_timeout) {
        ranges.ordered(
            (&at("idleTimeout"), idle),
            (&at("absoluteTimeout"), absolute),
        );
    }
    if lifetime == SessionLifetime::Permanent && spec.absolute_timeout.is_none() {
        let why = "a permanent cookie needs `absoluteTimeout`: how long does it live?";
        ranges.note(&at("absoluteTimeout"), Code::POLICY_MISSING_FIELD, why);
    }
    if spec.cookie_config.is_some() && kind != SessionType::Cookie {
        let why = "`cookieConfig` is for a session of type Cookie";
        ranges.refuse(&at("cookieConfig"), why);
    }
    let policy = SessionPolicy::new(name, kind)
        .with_absolute_timeout(spec.absolute_timeout.map(Interval::get))
        .with_idle_timeout(spec.idle_timeout.map(Interval::get))
        .with_lifetime(lifetime);
    Some(Arc::new(policy))
}
