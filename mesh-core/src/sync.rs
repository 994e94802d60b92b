//! Atomics and locks of the decisions. Under `--cfg loom` they are those of loom, whose models (`mesh-core/models`) then
//! run the decisions themselves through every order of their threads' steps.

#[cfg(not(loom))]
pub(crate) use std::hint::spin_loop;
#[cfg(not(loom))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};

#[cfg(loom)]
pub(crate) use loom::hint::spin_loop;
#[cfg(loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic};

/// What a sequentially consistent access is and loom does not know: to it they are acquire and release, and only the
/// fence is in one order with all others. Nothing outside of a model.
#[inline(always)]
pub(crate) fn in_one_order() {
    #[cfg(loom)]
    atomic::fence(atomic::Ordering::SeqCst);
}
