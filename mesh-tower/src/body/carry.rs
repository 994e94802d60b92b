//! A request's body carries the call that the request is, from layer to layer.

use bytes::Bytes;

use super::MeshBody;
use super::guarded::stream;
use super::mesh_body::{Inner, Rest};
use super::source::Buffer;
use crate::context::CallContext;

impl MeshBody {
    /// The call that this request's body carries.
    pub(crate) fn call(&self) -> Option<&CallContext> {
        match &self.inner {
            Inner::Full(_) => None,
            Inner::Rest(rest) => rest.call.as_ref(),
        }
    }

    /// Lets the body carry a call, which takes its place beside the request: no layer need look it
    /// up by type. A body of one buffer becomes that of the call.
    pub(crate) fn carry(&mut self, call: CallContext) {
        let stream = match std::mem::take(&mut self.inner) {
            Inner::Full(data) if is_same(&data, call.buffer()) => None,
            Inner::Full(data) => Some(stream(Buffer(data))),
            Inner::Rest(rest) => match rest.call {
                Some(earlier) if rest.stream.is_none() => {
                    Some(stream(Buffer(earlier.buffer().clone())))
                }
                _ => rest.stream,
            },
        };
        self.inner = Inner::Rest(Rest {
            call: Some(call),
            stream,
        });
    }

    /// The same for a call that [has taken](Self::take_buffer) what was in one buffer.
    pub(crate) fn carry_own(&mut self, call: CallContext) {
        let stream = match std::mem::take(&mut self.inner) {
            Inner::Full(_) => None,
            Inner::Rest(rest) => rest.stream,
        };
        self.inner = Inner::Rest(Rest {
            call: Some(call),
            stream,
        });
    }

    /// Takes the call out again, and leaves the body alone.
    pub(crate) fn take_call(&mut self) -> Option<CallContext> {
        let Inner::Rest(rest) = &mut self.inner else {
            return None;
        };
        let call = rest.call.take()?;
        if rest.stream.is_none() {
            self.inner = Inner::Full(call.buffer().clone());
        }
        Some(call)
    }

    /// The whole of it, for a call to keep; a stream stays where it is.
    pub(crate) fn take_buffer(&mut self) -> Bytes {
        match &mut self.inner {
            Inner::Full(data) => std::mem::take(data),
            Inner::Rest(_) => Bytes::new(),
        }
    }
}

/// Whether both are the same bytes, not only equal ones.
fn is_same(a: &Bytes, b: &Bytes) -> bool {
    a.len() == b.len() && (a.is_empty() || a.as_ptr() == b.as_ptr())
}
