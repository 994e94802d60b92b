//! What the assembled stacks are made of: the order tables, the seams, `describe`.
//!
//! A stack is static between seams and erased at them: a fully static stack costs gigabytes and
//! minutes to compile, a fully erased one costs an allocation a layer. Three seams per call are
//! three boxed futures.
//!
//! A layer of ours, in short:
//!
//! - It is a plain tower layer over `Request<B>` with `B: 'static`, of use alone in a
//!   `ServiceBuilder`; in the assembled client it is the same with its settings from the route.
//! - It finds the call with [`CallContext::get`](crate::context::CallContext::get), which borrows,
//!   or `of`, which clones and makes one where there is none. It never looks for an extension, and
//!   whoever builds a request anew gives its body the call (`MeshBody::carry`).
//! - It asks the call for the time (`now`, `elapsed`), and whoever has waited calls `tick`.
//! - What must last as long as the answer goes into the call's context or is a guard of the body
//!   (`MeshBody::with_guard`, one allocation).
//! - Who makes attempts on a task of its own says so first (`CallContext::elsewhere`): the call then
//!   sets a timer for its deadline even while an attempt has an earlier one.
//!
//! ```
//! let names: Vec<_> = mesh_tower::stack::CLIENT_ORDER.iter().map(|slot| slot.name).collect();
//! assert_eq!(names.first(), Some(&"trace"));
//! ```

mod describe;
mod order;
mod seam;

pub use self::describe::Describe;
pub use self::order::{CLIENT_ORDER, SERVER_ORDER, Slot, names};
pub use self::seam::{BoxFuture, DynService, Seam};
pub(crate) use self::seam::{into_mesh_error, is_grpc};
