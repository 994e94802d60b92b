use std::sync::Arc;

use bytes::Bytes;

/// One response, to be put into force and then given to [`Machine::accept`](super::Machine::accept) or
/// [`Machine::refuse`](super::Machine::refuse).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Update {
    /// Type URL.
    pub type_url: Arc<str>,
    /// Revision of the server's whole configuration; for people.
    pub revision: Arc<str>,
    /// New and changed resources: name, version, content. Only subscribed names.
    pub resources: Vec<(Arc<str>, Arc<str>, Bytes)>,
    /// Names that do not exist (any more). Only subscribed names.
    pub removed: Vec<Arc<str>>,
    pub(super) nonce: String,
    pub(super) stream: u64,
}
