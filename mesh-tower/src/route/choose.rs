//! Which target of a split a call goes to: that of its session, that of its key, or one by chance.

use http::{HeaderMap, HeaderValue, Request};
use mesh_core::policy::model::{HashKey, HashOn, Route, SessionPolicy, SessionType, Target};
use mesh_core::route::key;
use mesh_core::route::session::Session;

use super::after::After;
use crate::context;
use crate::live_view::RouteState;
use crate::runtime;

/// The target, and the session that led to it.
pub(super) struct Choice<'a> {
    pub(super) target: &'a Target,
    pub(super) session: Option<Session>,
}

/// `None`: no target has a weight.
pub(super) fn choose<'a, B>(
    route: &'a Route,
    state: &RouteState,
    source: &str,
    request: &Request<B>,
    after: &mut After,
) -> Option<Choice<'a>> {
    if let (Some(policy), Some(scope)) = (route.session(), state.session)
        && let Some(text) = brought(policy, request.headers())
        && let Some(session) = Session::read(scope, text, policy, runtime::wall())
    {
        // GEP-1619: a session stays with its backend even at weight 0.
        let mut targets = route.split().targets().iter();
        if let Some(target) = targets.find(|target| session.is_backend(target.tag())) {
            let session = Some(session);
            return Some(Choice { target, session });
        }
    }
    let sticky = route.sticky().and_then(|on| {
        let peer = context::with(|context| context.peer.clone()).flatten();
        let source = peer.as_ref().map_or(source, |peer| peer.as_str());
        let found = key::hash(
            on,
            request.uri(),
            request.headers(),
            Some(source.as_bytes()),
        );
        found.or_else(|| issue(on, after))
    });
    let target = match sticky {
        Some(key) => route.split().pick_sticky(key),
        // Without a key there is nothing to stick to.
        None => route.split().pick_target(&mut fastrand::Rng::new()),
    }?;
    let session = None;
    Some(Choice { target, session })
}

/// What the caller brought of its session.
fn brought<'a>(policy: &SessionPolicy, headers: &'a HeaderMap) -> Option<&'a str> {
    match policy.kind() {
        SessionType::Header => headers.get(&**policy.name())?.to_str().ok(),
        _ => key::cookie(headers, policy.name()),
    }
}

/// A cookie for a caller that has none, where the policy says so, and the key that it will have.
fn issue(on: &[HashOn], after: &mut After) -> Option<u64> {
    let (name, ttl, path) = on.iter().find_map(|part| match part.key() {
        HashKey::Cookie {
            name,
            ttl: Some(ttl),
            path,
        } => Some((name, ttl, path)),
        _ => None,
    })?;
    let value = format!("{:016x}", fastrand::u64(..));
    let mut cookie = format!("{name}={value}; Path={}", path.as_deref().unwrap_or("/"));
    if !ttl.is_zero() {
        cookie.push_str(&format!("; Max-Age={}", ttl.as_secs()));
    }
    cookie.push_str("; HttpOnly");
    after.cookie = Some(HeaderValue::try_from(cookie).ok()?);
    // As if it had come: the same parts, of which only this one is there.
    let header = HeaderValue::try_from(format!("{name}={value}")).ok()?;
    let headers = HeaderMap::from_iter([(http::header::COOKIE, header)]);
    key::hash(on, &http::Uri::default(), &headers, None)
}
