//! Names of services: one spelling inside (`namespace/name`), several accepted outside.
//!
//! | written | means |
//! | --- | --- |
//! | `shop/reviews` | service `reviews` in namespace `shop` |
//! | `reviews.shop` | the same, as a host |
//! | `reviews.shop.svc`, `reviews.shop.svc.cluster.local` | the same, as Kubernetes writes it |
//! | `reviews` | service `reviews` in the caller's namespace |
//!
//! Both parts are DNS labels (RFC 1123): at most 63 of `a-z`, `0-9` and `-`, starting and ending
//! with a letter or a digit. A name is two `Arc<str>`, so a clone allocates nothing.
//!
//! ```
//! use mesh_core::name::{ServiceName, ServiceTarget};
//!
//! let name = ServiceName::parse("reviews.shop.svc.cluster.local", "default")?;
//! assert_eq!(name.to_string(), "shop/reviews");
//! assert_eq!(ServiceTarget::parse("reviews:8080", "shop")?.port, Some(8080));
//! # Ok::<(), mesh_core::name::NameError>(())
//! ```

mod service;
mod target;

pub use service::{NameError, ServiceName, check_label};
pub use target::ServiceTarget;
