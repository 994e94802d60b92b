//! The application as a child process: start, signals, exit code.
//!
//! The shim stands where the application stood, so whoever started it must see no difference: the
//! same signals arrive, the same exit code comes back. The child has a process group of its own,
//! so that a Ctrl-C at a terminal reaches the shim first: it drains, and only then tells the
//! application.

mod child;
mod port;
mod signals;

pub(crate) use self::child::{Child, Exit};
pub(crate) use self::port::{OFTEN, SELDOM, accepts};
pub(crate) use self::signals::{Received, Signals};
