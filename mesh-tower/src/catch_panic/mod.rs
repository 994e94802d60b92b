//! A panic in a handler is an answer (500, M2099), not a dead connection.
//!
//! tower-http's layer does the same but answers with its own body type, and tells nobody below
//! that the request ended by a panic: here the layers inside know of it while they are
//! dropped, so the request is counted and logged as what it was.
//!
//! ```
//! use mesh_tower::{MeshBody, catch_panic::CatchPanicLayer};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! # std::panic::set_hook(Box::new(|_| {}));
//! let service = ServiceBuilder::new().layer(CatchPanicLayer::new()).service(service_fn(
//!     async |_: http::Request<MeshBody>| -> Result<http::Response<MeshBody>, std::convert::Infallible> {
//!         panic!("a bug")
//!     },
//! ));
//! let answer = service.oneshot(http::Request::new(MeshBody::empty())).await.unwrap();
//! assert_eq!(answer.status(), 500);
//! # });
//! ```

mod future;
mod layer;
mod service;

pub(crate) use self::future::unwinding;
pub use self::{future::ResponseFuture, layer::CatchPanicLayer, service::CatchPanic};
