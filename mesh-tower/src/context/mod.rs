//! What travels from a server's request to the client's calls without any work by the handler.
//!
//! The server sets the context while the handler's future and its body are polled; the client
//! reads deadline, trace, criticality and attempt from it. Outside a request there is none.
//!
//! ```
//! assert!(mesh_tower::context::current().is_none());
//! ```

mod attempts;
mod call;
mod chosen;
mod time;

use std::future::Future;

pub use mesh_core::context::Criticality;
use mesh_core::context::RequestContext;
use tokio::task::futures::TaskLocalFuture;

pub use self::call::CallContext;
pub(crate) use self::chosen::Chosen;
pub(crate) use self::time::Timed;

tokio::task_local! {
    /// The context of the request that this task is serving.
    pub static CURRENT: RequestContext;
}

/// A copy of the context of the request that this task is serving.
pub fn current() -> Option<RequestContext> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Reads the context in place, without copying it.
pub fn with<T>(read: impl FnOnce(&RequestContext) -> T) -> Option<T> {
    CURRENT.try_with(read).ok()
}

/// Runs a future inside a context: the way to carry it over `tokio::spawn`.
pub fn scope<F: Future>(context: RequestContext, future: F) -> TaskLocalFuture<RequestContext, F> {
    CURRENT.scope(context, future)
}

/// Runs a future whose calls matter as much as `level` says, whatever the request that it serves
/// does. For one call, put the [`Criticality`] into the extensions of its request instead.
///
/// ```
/// # async fn run(client: mesh_tower::MeshClient) -> Result<(), mesh_tower::MeshError> {
/// use mesh_tower::context::{self, Criticality};
///
/// let warm_the_cache = async { /* calls */ };
/// context::with_criticality(Criticality::Sheddable, warm_the_cache).await;
/// # Ok(()) }
/// ```
pub fn with_criticality<F: Future>(
    level: Criticality,
    future: F,
) -> TaskLocalFuture<RequestContext, F> {
    let start = || RequestContext::start(&mut fastrand::Rng::new());
    let mut context = current().unwrap_or_else(start);
    context.criticality = level;
    scope(context, future)
}

/// Runs a closure inside a context.
pub fn sync_scope<T>(context: RequestContext, run: impl FnOnce() -> T) -> T {
    CURRENT.sync_scope(context, run)
}
