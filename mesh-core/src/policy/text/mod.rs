//! Policy as people write it: YAML in, resources and located problems out; and back.
//!
//! Two forms of one policy are read, and may be mixed in one text of several documents:
//!
//! ```yaml
//! service: shop/reviews:8080          # short: everything about one service
//! route:
//! - backends: { reviews-v1: 90, reviews-v2: 10 }
//!   timeout: 2s
//! ```
//!
//! ```yaml
//! apiVersion: gateway.networking.k8s.io/v1     # long: one resource a document
//! kind: HTTPRoute
//! ...
//! ```
//!
//! The short form is rewritten to the long one as a tree, and each node keeps the place where it
//! was written, so there is one decoder and its errors point into the short text. The YAML parser
//! stops at the first error of *syntax*; everything after that is decoded from the tree, and all
//! errors are collected.
//!
//! A text is untrusted: it is limited in size, depth, number of nodes and expansion of aliases
//! ([`limits`]).

mod decoder;
mod emit;
mod expand;
mod load;
mod node;
mod origin;
mod place;
mod render;
mod shorten;
mod suggest;
mod yaml;

pub mod limits;

pub use load::{Loaded, expand, load, load_in, shorten};
pub use node::{Entry, Node, Pos, Value};
pub use origin::Origin;
pub use place::place;
pub use render::{Style, render};
pub use suggest::closest;

pub(crate) use decoder::Decoder;
pub use emit::Tree;
#[cfg(test)]
pub(crate) use expand::short_fields;

use std::sync::Arc;

/// A policy text with the name under which it is reported, mostly a file's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Name.
    pub name: Arc<str>,
    /// Text.
    pub text: Arc<str>,
}

impl Source {
    /// A text under a name.
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
        }
    }
}
