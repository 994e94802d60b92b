//! Where endpoints come from: a list, a file, DNS, or somebody who pushes them.
//!
//! Every source ends in one shape, a watched `Option<Arc<[EndpointInfo]>>`: `None` until there was
//! an answer, then the newest one. A source that fails keeps its last answer: an endpoint that
//! cannot be looked up may still be reachable.

#[cfg(feature = "dns")]
mod dns;
mod file;
mod pushed;
mod static_list;

use std::sync::Arc;

use mesh_core::balance::EndpointInfo;
use tokio::sync::watch;

#[cfg(feature = "dns")]
pub use self::dns::{Dns, Resolver};
pub use self::file::{EndpointFile, file};
pub use self::pushed::{PushedEndpoints, pushed};
pub use self::static_list::{StaticList, static_list};

/// The newest answer of a source; `None` while there was none.
pub type Answers = watch::Receiver<Option<Arc<[EndpointInfo]>>>;

/// A source of endpoints.
pub trait Discover {
    /// Starts to look. Sources with a task of their own end it when every receiver is gone.
    fn watch(self) -> Answers;
}
