use std::{any::Any, cell::RefCell};

use http_body::Body as _;

use crate::body::MeshBody;

/// The largest body that counts as complete: more than that takes time to send.
const BUFFERED: u64 = 64 * 1024;

/// Whether an answer is over as soon as its head is made: nothing of it can fail or be late.
pub(crate) fn is_buffered(body: &MeshBody) -> bool {
    body.is_end_stream()
        || body
            .size_hint()
            .exact()
            .is_some_and(|size| size <= BUFFERED)
}

/// A random number generator of this thread.
pub(crate) fn with_rng<T>(run: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
    thread_local! {
        static RNG: RefCell<fastrand::Rng> = RefCell::new(fastrand::Rng::new());
    }
    RNG.with(|rng| run(&mut rng.borrow_mut()))
}

/// The body itself when it is one of ours, so that it is not boxed again.
pub(super) fn as_mesh_body<B: 'static>(body: B) -> Result<MeshBody, B> {
    let mut slot = Some(body);
    let any: &mut dyn Any = &mut slot;
    if let Some(ours) = any.downcast_mut::<Option<MeshBody>>()
        && let Some(body) = ours.take()
    {
        return Ok(body);
    }
    match slot {
        Some(body) => Err(body),
        // Not reached: the slot is only emptied above.
        None => Ok(MeshBody::empty()),
    }
}
