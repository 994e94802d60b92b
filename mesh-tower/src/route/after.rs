use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderValue, Response, header};
use mesh_core::policy::model::{HeaderEdit, SessionType};
use mesh_core::route::session::{Session, SessionScope};

use crate::body::MeshBody;
use crate::context::{CallContext, Chosen};
use crate::headers::{ResponseEdits, edit_trailers};
use crate::runtime;

/// What a route has still to do when the answer comes.
#[derive(Default)]
pub(super) struct After {
    pub(super) edits: Option<ResponseEdits>,
    pub(super) trailers: Option<Arc<HeaderEdit>>,
    /// A cookie for a caller that a sticky split does not know yet.
    pub(super) cookie: Option<HeaderValue>,
    pub(super) session: Option<SessionAfter>,
}

/// A session that may have to be told to the caller.
pub(super) struct SessionAfter {
    pub(super) call: CallContext,
    pub(super) scope: SessionScope,
    /// The tag of the backend.
    pub(super) backend: u64,
}

// === impl After ===

impl After {
    pub(super) fn is_nothing(&self) -> bool {
        let Self {
            edits,
            trailers,
            cookie,
            session,
        } = self;
        edits.is_none() && trailers.is_none() && cookie.is_none() && session.is_none()
    }

    pub(super) fn apply(self, response: &mut Response<MeshBody>) {
        if let Some(edits) = &self.edits {
            edits.apply(response.headers_mut());
        }
        if let Some(edit) = self.trailers {
            edit_trailers(edit, response);
        }
        if let Some(cookie) = self.cookie {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        if let Some(session) = self.session {
            session.apply(response);
        }
    }
}

// === impl SessionAfter ===

impl SessionAfter {
    /// Tells the caller its session where that is new, has moved or must be told to be in use.
    fn apply(&self, response: &mut Response<MeshBody>) -> Option<()> {
        // A failing endpoint is nothing to bind a session to.
        if response.status().is_server_error() {
            return None;
        }
        let chosen = self.call.chosen()?;
        let policy = chosen.route.as_ref()?.session()?;
        let addr = served_by(&self.call, chosen)?;
        let now = runtime::wall();
        let brought = chosen.session.as_deref().copied();
        let told = match brought {
            Some(session) if session.is_endpoint(addr) => session.renewed(policy, now)?,
            _ => {
                let mut rng = fastrand::Rng::new();
                let new = Session::begin(self.scope, self.backend, addr, now, &mut rng);
                brought.map_or(new, |old| old.moved(new))
            }
        };
        match policy.kind() {
            SessionType::Header => {
                let name = http::HeaderName::try_from(&**policy.name()).ok()?;
                let value = HeaderValue::try_from(told.token()).ok()?;
                response.headers_mut().insert(name, value);
            }
            _ => {
                let cookie = told.cookie(policy, "/")?;
                response.headers_mut().append(header::SET_COOKIE, cookie);
            }
        }
        Some(())
    }
}

/// The address of the endpoint whose answer this is.
fn served_by(call: &CallContext, chosen: &Chosen) -> Option<SocketAddr> {
    let id = call.pick(call.attempt());
    let in_view = |view: &crate::live_view::BackendView| {
        let ix = view.position(id)?;
        Some(view.set().get(ix)?.addr())
    };
    in_view(&chosen.backend).or_else(|| in_view(&chosen.backend.newest()))
}
