//! What the assembled stacks are made of: the order tables, the seams, `describe`.
//!
//! A stack is static between seams and erased at them: a fully static stack costs gigabytes and
//! minutes to compile, a fully erased one costs an allocation a layer. Three seams per call are
//! three boxed futures.
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
