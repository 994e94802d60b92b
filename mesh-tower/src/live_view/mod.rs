//! From policy and discovery to what a call reads: one immutable view, swapped as a whole.
//!
//! ```text
//! Store (policy) --+
//! discovery -------+--> Reconciler --> LiveView --watch--> clients (one atomic compare per call)
//! clients ask -----+
//! ```
//!
//! The reconciler builds the next view off the path of calls. What calls depend on survives by
//! identity: a backend's state by its [`BackendKey`](mesh_core::policy::model::BackendKey), an
//! endpoint's by address and identity, a service's budget by name. So a changed threshold applies
//! in place, and only what needs new connections gets new ones. A call keeps the view that it has
//! pinned; removed parts live until their last call is over.
//!
//! Only services that somebody asked for are built, with the backends that their routes refer to:
//! a policy of a thousand services costs a client of three no more than three.

mod backend;
mod completed;
mod connector;
mod discovery;
mod endpoint;
mod held;
mod reconciler;
mod service;
mod settings;
mod view;

pub(crate) use self::backend::{BackendState, BackendView};
pub(crate) use self::connector::Connector;
pub(crate) use self::endpoint::{Endpoint, EndpointId};
pub(crate) use self::reconciler::Reconciler;
pub(crate) use self::service::{Place, RouteState, ServiceState, ServiceView};
pub(crate) use self::settings::Settings;
pub(crate) use self::view::{Found, LiveView, ViewReader};
