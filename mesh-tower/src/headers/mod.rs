//! Edits of headers, and of the request's host and path: the filters of a route.
//!
//! The route layer applies the filters of whichever route matched. [`HeadersLayer`] applies fixed
//! edits to every call.
//!
//! ```
//! use http::{HeaderName, HeaderValue};
//! use mesh_tower::headers::HeadersLayer;
//!
//! let tenant = (HeaderName::from_static("x-tenant"), HeaderValue::from_static("blue"));
//! let _layer = HeadersLayer::new().set_request([tenant]);
//! ```

mod filters;
mod find;
pub(crate) mod forwarded;
pub(crate) mod hop;
mod service;
mod trailers;

pub(crate) use self::filters::{ResponseEdits, edit_request, redirect, rewrite};
pub(crate) use self::find::find;
pub use self::service::{HeadersFuture, HeadersLayer, HeadersService};
pub(crate) use self::trailers::edit_trailers;
