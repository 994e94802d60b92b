//! Sessions: which endpoint the calls of one user go to, told in a cookie or header that the user
//! brings along (Gateway API's `sessionPersistence`, GEP-1619).
//!
//! What travels is a token: backend and endpoint as hashes, salted by a number of the token's own and
//! by the route, and the times at which the session began and was last seen. It holds no address and
//! no name, and no process remembers anything, so a session survives restarts and works in every
//! process that has the route. It is *not* signed: there is no secret that all callers of a service
//! share. What a forged token can do is choose among the live endpoints of the route's own backends,
//! and prolong its own session; both a caller can do by calling often enough. So a session never is
//! a proof of who calls.
//!
//! A token of another route means nothing here: rules do not share sessions, as GEP-1619 demands,
//! even when their cookies have one name.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use twox_hash::XxHash64;

use crate::policy::model::{Route, SessionLifetime, SessionPolicy};

const VERSION: u8 = 1;
/// version, salt, backend, endpoint, began, seen, check.
const BYTES: usize = 1 + 4 + 8 + 8 + 4 + 4 + 4;

/// What a route's tokens are salted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionScope(u64);

/// A session as its user brings it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    scope: SessionScope,
    salt: u32,
    backend: u64,
    endpoint: u64,
    /// Seconds since 1970.
    began: u32,
    seen: u32,
}

// === impl SessionScope ===

impl SessionScope {
    /// The scope of a rule: of the resource that it stands in and its name, so that it survives
    /// changes of all else in the rule.
    pub fn of(route: &Route) -> Self {
        let resource = route.origin().resource();
        let text = match resource {
            Some(resource) => format!("{resource} {}", route.name()),
            None => route.name().to_string(),
        };
        Self(XxHash64::oneshot(0, text.as_bytes()))
    }
}

// === impl Session ===

impl Session {
    /// A session that begins at `now` with an endpoint of the backend with that
    /// [tag](crate::policy::model::Target::tag).
    pub fn begin(
        scope: SessionScope,
        backend: u64,
        endpoint: SocketAddr,
        now: SystemTime,
        rng: &mut fastrand::Rng,
    ) -> Self {
        let salt = rng.u32(..);
        let now = seconds(now);
        Self {
            scope,
            salt,
            backend: salted(scope, salt, backend),
            endpoint: salted(scope, salt, tag(endpoint)),
            began: now,
            seen: now,
        }
    }

    /// Reads what a user brought. `None` if it is no token of this scope, or over by `policy`.
    pub fn read(
        scope: SessionScope,
        text: &str,
        policy: &SessionPolicy,
        now: SystemTime,
    ) -> Option<Self> {
        let bytes = unhex(text)?;
        let mut rest = &bytes[..];
        let mut take = |count: usize| {
            let (head, tail) = rest.split_at_checked(count)?;
            rest = tail;
            Some(
                head.iter()
                    .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte)),
            )
        };
        let small = |number: u64| u32::try_from(number).ok();
        if take(1)? != u64::from(VERSION) {
            return None;
        }
        let session = Self {
            scope,
            salt: small(take(4)?)?,
            backend: take(8)?,
            endpoint: take(8)?,
            began: small(take(4)?)?,
            seen: small(take(4)?)?,
        };
        let check = small(take(4)?)?;
        (check == session.check() && !session.is_over(policy, seconds(now))).then_some(session)
    }

    fn is_over(&self, policy: &SessionPolicy, now: u32) -> bool {
        let after = |since: u32, limit: Option<Duration>| {
            limit
                .is_some_and(|limit| u64::from(now.saturating_sub(since)) >= limit.as_secs().max(1))
        };
        after(self.began, policy.absolute_timeout()) || after(self.seen, policy.idle_timeout())
    }

    /// Whether its backend is the one with that [tag](crate::policy::model::Target::tag).
    pub fn is_backend(&self, tag: u64) -> bool {
        self.backend == salted(self.scope, self.salt, tag)
    }

    /// Whether its endpoint is the one at that address.
    pub fn is_endpoint(&self, addr: SocketAddr) -> bool {
        self.endpoint == salted(self.scope, self.salt, tag(addr))
    }

    /// The same session, seen now. `None` while that is not worth telling: without an idle timeout,
    /// or within a tenth of it.
    pub fn renewed(mut self, policy: &SessionPolicy, now: SystemTime) -> Option<Self> {
        let idle = policy.idle_timeout()?;
        let now = seconds(now);
        let worth = u64::from(now.saturating_sub(self.seen)) * 10 >= idle.as_secs();
        self.seen = now;
        worth.then_some(self)
    }

    /// The same session at another endpoint, because its own is gone: the time it began stays.
    #[must_use]
    pub fn moved(self, to: Self) -> Self {
        Self {
            began: self.began,
            ..to
        }
    }

    /// The token.
    pub fn token(&self) -> String {
        let mut out = String::with_capacity(BYTES * 2);
        let Self {
            salt,
            backend,
            endpoint,
            began,
            seen,
            ..
        } = self;
        // Writing into a String cannot fail.
        let _ = write!(
            out,
            "{VERSION:02x}{salt:08x}{backend:016x}{endpoint:016x}{began:08x}{seen:08x}{:08x}",
            self.check()
        );
        out
    }

    /// The token as a `set-cookie` header. `HttpOnly` always, as no script has any use for it;
    /// neither `Secure` nor `SameSite`, since calls within a mesh have no `https` scheme, and no
    /// `Domain`, so that it returns to the host that gave it.
    pub fn cookie(&self, policy: &SessionPolicy, path: &str) -> Option<HeaderValue> {
        let mut out = format!("{}={}; Path={path}", policy.name(), self.token());
        if let (SessionLifetime::Permanent, Some(end)) =
            (policy.lifetime(), policy.absolute_timeout())
        {
            let used = u64::from(self.seen.saturating_sub(self.began));
            let _ = write!(out, "; Max-Age={}", end.as_secs().saturating_sub(used));
        }
        out.push_str("; HttpOnly");
        HeaderValue::from_str(&out).ok()
    }

    /// Tells a token from one that was cut or belongs to another route. No proof of anything else.
    fn check(&self) -> u32 {
        let Self {
            salt,
            backend,
            endpoint,
            began,
            seen,
            ..
        } = *self;
        let mut bytes = [0; 28];
        let mut rest = &mut bytes[..];
        for (number, count) in [
            (u64::from(salt), 4),
            (backend, 8),
            (endpoint, 8),
            (u64::from(began), 4),
            (u64::from(seen), 4),
        ] {
            let (head, tail) = rest.split_at_mut(count);
            head.copy_from_slice(&number.to_be_bytes()[8 - count..]);
            rest = tail;
        }
        (XxHash64::oneshot(self.scope.0, &bytes) >> 32) as u32
    }
}

fn salted(scope: SessionScope, salt: u32, tag: u64) -> u64 {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&salt.to_le_bytes());
    bytes[4..].copy_from_slice(&tag.to_le_bytes());
    XxHash64::oneshot(scope.0, &bytes)
}

fn tag(addr: SocketAddr) -> u64 {
    let mut bytes = [0; 18];
    match addr {
        SocketAddr::V4(addr) => bytes[..4].copy_from_slice(&addr.ip().octets()),
        SocketAddr::V6(addr) => bytes[..16].copy_from_slice(&addr.ip().octets()),
    }
    bytes[16..].copy_from_slice(&addr.port().to_be_bytes());
    XxHash64::oneshot(0, &bytes)
}

fn seconds(time: SystemTime) -> u32 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

fn unhex(text: &str) -> Option<[u8; BYTES]> {
    let digits = text.as_bytes();
    if digits.len() != BYTES * 2 {
        return None;
    }
    let mut out = [0; BYTES];
    let digit = |byte: u8| char::from(byte).to_digit(16);
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        *byte = (digit(high)? << 4 | digit(low)?) as u8;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::model::{BackendIx, SessionType, Split, Target};

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
    }

    fn scope(name: &str) -> SessionScope {
        SessionScope::of(&Route::new(name, Split::one(BackendIx(0))))
    }

    fn addr(last: u8) -> SocketAddr {
        ([10, 0, 0, last], 8080).into()
    }

    fn policy() -> SessionPolicy {
        SessionPolicy::new("sid", SessionType::Cookie)
    }

    fn session() -> Session {
        let mut rng = fastrand::Rng::with_seed(4);
        Session::begin(scope("r"), 7, addr(1), at(0), &mut rng)
    }

    #[test]
    fn a_token_leads_back_to_its_backend_and_endpoint() {
        let token = session().token();
        let read = Session::read(scope("r"), &token, &policy(), at(5)).unwrap();
        assert_eq!(read, session());
        assert!(read.is_backend(7) && !read.is_backend(8));
        assert!(read.is_endpoint(addr(1)) && !read.is_endpoint(addr(2)));
    }

    #[test]
    fn a_token_shows_neither_address_nor_two_sessions_of_one_endpoint() {
        let other = Session::begin(
            scope("r"),
            7,
            addr(1),
            at(0),
            &mut fastrand::Rng::with_seed(5),
        );
        let (one, two) = (session().token(), other.token());
        assert!(!one.contains("0a000001") && !one.contains("10.0.0.1"));
        assert_ne!(&one[10..42], &two[10..42]);
    }

    #[test]
    fn gep1619_routes_do_not_share_sessions() {
        let token = session().token();
        assert_eq!(
            Session::read(scope("other"), &token, &policy(), at(0)),
            None
        );
    }

    #[test]
    fn gep1619_a_session_is_over_after_its_absolute_timeout_used_or_not() {
        let policy = policy().with_absolute_timeout(Some(MINUTE));
        let read = |seconds| Session::read(scope("r"), &session().token(), &policy, at(seconds));
        assert!(read(59).is_some());
        assert!(read(60).is_none());
    }

    #[test]
    fn a_session_is_over_after_its_idle_timeout_but_not_while_it_is_used() {
        let policy = policy().with_idle_timeout(Some(MINUTE));
        let read = |session: Session, seconds| {
            Session::read(scope("r"), &session.token(), &policy, at(seconds))
        };
        assert!(read(session(), 60).is_none());
        assert_eq!(session().renewed(&policy, at(5)), None);
        let renewed = read(session(), 59)
            .unwrap()
            .renewed(&policy, at(59))
            .unwrap();
        assert!(read(renewed, 118).is_some());
        assert!(read(renewed, 119).is_none());
        // Without an idle timeout there is nothing to tell.
        assert_eq!(session().renewed(&self::policy(), at(1000)), None);
    }

    #[test]
    fn a_session_that_moves_keeps_the_time_it_began() {
        let policy = policy().with_absolute_timeout(Some(MINUTE));
        let mut rng = fastrand::Rng::with_seed(9);
        let moved = session().moved(Session::begin(scope("r"), 7, addr(2), at(50), &mut rng));
        assert!(moved.is_endpoint(addr(2)));
        assert_eq!(
            Session::read(scope("r"), &moved.token(), &policy, at(60)),
            None
        );
    }

    #[test]
    fn gep1619_a_permanent_cookie_carries_max_age_and_a_session_cookie_none() {
        let token = session().token();
        let cookie = |policy: &SessionPolicy| session().cookie(policy, "/").unwrap();
        let timed = policy().with_absolute_timeout(Some(MINUTE));
        assert_eq!(cookie(&timed), format!("sid={token}; Path=/; HttpOnly"));
        assert_eq!(
            cookie(&timed.with_lifetime(SessionLifetime::Permanent)),
            format!("sid={token}; Path=/; Max-Age=60; HttpOnly")
        );
    }

    #[test]
    fn a_target_is_found_by_name_whatever_its_weight_and_place() {
        let target = |ix, weight, name: &str| Target::new(BackendIx(ix), weight).named(name);
        let before = Split::new([target(0, 90, "v1"), target(1, 10, "v2")]);
        let after = Split::new([target(0, 0, "v2"), target(1, 100, "v1")]);
        let tag = before.targets()[1].tag();
        assert_eq!(after.target_of(tag).unwrap().backend(), BackendIx(0));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in ".{0,80}", hex in "[0-9a-fA-F]{66}") {
            let _ = Session::read(scope("r"), &text, &policy(), at(0));
            // A guess passes the check once in 2^32.
            prop_assert_eq!(Session::read(scope("r"), &hex, &policy(), at(0)), None);
        }

        #[test]
        fn a_changed_token_is_none(place in 0_usize..66, digit in 0_u8..16) {
            let mut text = session().token().into_bytes();
            let new = b"0123456789abcdef"[usize::from(digit)];
            prop_assume!(text[place] != new);
            text[place] = new;
            let text = String::from_utf8(text).unwrap();
            prop_assert_eq!(Session::read(scope("r"), &text, &policy(), at(0)), None);
        }
    }
}
