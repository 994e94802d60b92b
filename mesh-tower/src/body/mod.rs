//! [`MeshBody`]: the one body type of requests and responses inside the mesh.
//!
//! The usual boxed body costs an allocation and two indirect calls per frame even for `GET`. This
//! one is small and costs nothing for what most requests have (nothing, or one buffer), one
//! allocation for anything else, and carries *guards*: values that must live exactly as long as the
//! stream, such as a place below a ceiling or the connection that the answer comes from.
//!
//! A guard is dropped at the first of: end of the stream, an error, the drop of the body. A body
//! that has already ended drops it at once.
//!
//! ```
//! use http_body::Body;
//! use mesh_tower::body::MeshBody;
//!
//! let body = MeshBody::full("hello");
//! assert_eq!(body.size_hint().exact(), Some(5));
//! assert!(MeshBody::empty().is_end_stream());
//! ```

mod carry;
mod collect;
mod forward;
mod from;
mod guarded;
mod incoming;
mod mesh_body;
mod source;
mod trailers;

pub use self::collect::TooLarge;
pub(crate) use self::forward::forward_size;
pub use self::mesh_body::MeshBody;

#[cfg(test)]
mod tests;
