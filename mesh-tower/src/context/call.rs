//! What a call carries through its stack, beside its request.

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use mesh_core::ceiling::Permit;
use mesh_core::context::{BodyClock, Criticality, TraceContext};
use mesh_core::metadata;

use super::Chosen;
use super::attempts::PICKS;
use crate::body::MeshBody;
use crate::headers::find;
use crate::metrics::{Edge, Ending};
use crate::runtime;
use crate::stack::is_grpc;

/// What the layers of one call know of it: deadline, trace, attempt, and what the route chose.
///
/// A layer finds it with [`CallContext::get`] or [`CallContext::of`], wherever it is:
///
/// - In the assembled client it travels in the request's [`MeshBody`], because an extension costs
///   three allocations and each reader a look-up.
/// - Around the user's layers at a seam, and in stacks of single layers, it is an extension: so it
///   survives a layer that replaces the body.
///
/// It is taken out again before the request reaches a connection. Cloning is one atomic increment;
/// a layer that only reads borrows it.
#[derive(Clone)]
pub struct CallContext(pub(super) Arc<CallState>);

pub(crate) struct CallState {
    pub(super) started: Instant,
    /// Nanoseconds after `started` that the clock last showed; `u64::MAX` where nobody keeps it.
    pub(super) clock: AtomicU64,
    grpc: bool,
    trace: TraceContext,
    parent: Option<[u8; 8]>,
    baggage: Option<HeaderValue>,
    criticality: Criticality,
    /// The request's body, if it came in one buffer.
    buffer: Bytes,
    /// The attempt number under which the request that we serve arrived here.
    arrived_attempt: u32,
    /// Nanoseconds after `started`; `u64::MAX` for none.
    pub(super) deadline: AtomicU64,
    /// The part of it that the caller of this process set, in the same terms.
    pub(super) inherited: AtomicU64,
    /// What holds whatever is sent, in the same terms. All else counts from the last piece of the body.
    pub(super) fixed: AtomicU64,
    pub(super) body: BodyClock,
    pub(super) attempt: AtomicU32,
    /// Attempts of which no byte was sent.
    pub(super) unsent: AtomicU32,
    pub(super) picks: [AtomicU64; PICKS],
    chosen: OnceLock<Chosen>,
    edge: OnceLock<Arc<Edge>>,
    permit: OnceLock<Permit>,
    /// A response body holds this, so the call ends when the body does.
    held: AtomicBool,
    ending: Ending,
    /// A timer of an attempt runs that fires before the deadline.
    pub(super) timed: AtomicBool,
    /// The last attempt that was the probe of its endpoint; 0 if none was.
    pub(super) probe: AtomicU32,
    /// Attempts may be made on other tasks than the call, as by layers that are not ours.
    pub(super) elsewhere: AtomicBool,
}

/// What the application says of how much the call matters.
fn told<B>(request: &Request<B>) -> Option<Criticality> {
    request.extensions().get::<Criticality>().copied()
}

// === impl CallContext ===

impl CallContext {
    /// The context of a request, made on first use by whichever layer is outermost.
    pub fn of<B: 'static>(request: &mut Request<B>) -> Self {
        Self::of_sampled(request, false)
    }

    /// The same; `sampled` says whether a trace that begins here is recorded.
    pub(crate) fn of_sampled<B: 'static>(request: &mut Request<B>, sampled: bool) -> Self {
        if let Some(found) = Self::get(request) {
            return found.clone();
        }
        let made = Self::new(
            request.headers(),
            told(request),
            sampled,
            Bytes::new(),
            BodyClock::default(),
            u64::MAX,
        );
        request.extensions_mut().insert(made.clone());
        made
    }

    /// The context of a request, if a layer above has made one.
    pub fn get<B: 'static>(request: &Request<B>) -> Option<&Self> {
        // Decided when the layer is compiled.
        let body: &dyn Any = request.body();
        body.downcast_ref::<MeshBody>()
            .and_then(MeshBody::call)
            .or_else(|| request.extensions().get::<Self>())
    }

    /// Begins a call of the assembled client: from here on the body carries the context.
    pub(crate) fn begin(request: &mut Request<MeshBody>, sampled: bool) {
        let body = request.body_mut();
        // Of another call, whose body this one sends on.
        body.take_call();
        let buffer = body.take_buffer();
        let clock = body.clock();
        let made = Self::new(request.headers(), told(request), sampled, buffer, clock, 0);
        request.body_mut().carry_own(made);
    }

    /// Puts the context where it survives a layer that is not ours.
    pub(crate) fn expose(request: &mut Request<MeshBody>) -> Option<Self> {
        let call = request.body_mut().take_call()?;
        call.elsewhere();
        request.extensions_mut().insert(call.clone());
        Some(call)
    }

    /// Takes the context back from where [`CallContext::expose`] has put it.
    pub(crate) fn conceal(request: &mut Request<MeshBody>) -> Option<Self> {
        let call = request.extensions_mut().remove::<Self>()?;
        request.body_mut().carry(call.clone());
        Some(call)
    }

    fn new(
        headers: &HeaderMap,
        told: Option<Criticality>,
        sampled: bool,
        buffer: Bytes,
        body: BodyClock,
        clock: u64,
    ) -> Self {
        let inherited = super::with(|context| {
            (
                context.trace.child(&mut fastrand::Rng::new()),
                Some(context.trace.span_id()),
                context.baggage.clone(),
                context.criticality,
                context.attempt,
            )
        });
        let (trace, parent, baggage, inherited_level, arrived_attempt) =
            inherited.unwrap_or_else(|| {
                // No server of ours above: the application may have set the headers itself.
                let mut rng = fastrand::Rng::new();
                let (trace, parent) = match TraceContext::from_headers(headers) {
                    Some(parent) => (parent.child(&mut rng), Some(parent.span_id())),
                    None => (TraceContext::start(sampled, &mut rng), None),
                };
                let level = find(headers, &metadata::CRITICALITY)
                    .and_then(|value| value.to_str().ok()?.parse().ok());
                // Copied from the request that it serves: as with the header of a server above.
                let number = |name: &http::HeaderName| {
                    find(headers, name)?.to_str().ok()?.parse::<u32>().ok()
                };
                let arrived = number(&metadata::ATTEMPT).map(|n| n.saturating_sub(1));
                let arrived = arrived
                    .max(number(&metadata::PREVIOUS_ATTEMPTS))
                    .unwrap_or(0);
                (trace, parent, None, level.unwrap_or_default(), arrived)
            });
        Self(Arc::new(CallState {
            started: runtime::now(),
            clock: AtomicU64::new(clock),
            grpc: is_grpc(headers),
            trace,
            parent,
            baggage,
            criticality: told.unwrap_or(inherited_level),
            buffer,
            arrived_attempt,
            deadline: AtomicU64::new(u64::MAX),
            inherited: AtomicU64::new(u64::MAX),
            fixed: AtomicU64::new(u64::MAX),
            body,
            attempt: AtomicU32::new(1),
            unsent: AtomicU32::new(0),
            picks: Default::default(),
            chosen: OnceLock::new(),
            edge: OnceLock::new(),
            held: AtomicBool::new(false),
            permit: OnceLock::new(),
            ending: Ending::default(),
            timed: AtomicBool::new(false),
            probe: AtomicU32::new(0),
            elsewhere: AtomicBool::new(false),
        }))
    }

    /// When the call began.
    pub fn started(&self) -> Instant {
        self.0.started
    }

    /// Whether it is a gRPC call, by its content type.
    pub fn is_grpc(&self) -> bool {
        self.0.grpc
    }

    /// The span of the call; attempts are its children.
    pub fn trace(&self) -> &TraceContext {
        &self.0.trace
    }

    /// The span that the call's own is a child of, if it did not begin the trace.
    pub(crate) fn parent_span(&self) -> Option<[u8; 8]> {
        self.0.parent
    }

    /// How much the call matters: as a [`Criticality`] in the request's extensions says, else as the
    /// request that this task serves, else as the application's own header.
    pub fn criticality(&self) -> Criticality {
        self.0.criticality
    }

    pub(crate) fn baggage(&self) -> Option<&HeaderValue> {
        self.0.baggage.as_ref()
    }

    /// The request's body, if it came in one buffer; empty otherwise.
    pub(crate) fn buffer(&self) -> &Bytes {
        &self.0.buffer
    }

    /// More than 0: the request that this process serves is itself a retry, and calls made for it
    /// are not retried again.
    pub fn arrived_attempt(&self) -> u32 {
        self.0.arrived_attempt
    }

    pub(crate) fn choose(&self, chosen: Chosen) {
        // A call is routed once; a second route layer below finds the choice made.
        let _ = self.0.chosen.set(chosen);
    }

    pub(crate) fn chosen(&self) -> Option<&Chosen> {
        self.0.chosen.get()
    }

    /// Keeps a ceiling's permit until the call, body included, is over.
    pub(crate) fn keep_permit(&self, permit: Permit) -> Result<(), Permit> {
        self.0.permit.set(permit)
    }

    /// Where the call is counted. The first layer that knows says so.
    pub(crate) fn count_at(&self, edge: Arc<Edge>) {
        let _ = self.0.edge.set(edge);
    }

    pub(crate) fn edge(&self) -> Option<&Arc<Edge>> {
        self.0.edge()
    }

    /// Says that a response body holds a clone; answers whether one did already.
    pub(crate) fn hold(&self) -> bool {
        self.0.held.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn ending(&self) -> &Ending {
        &self.0.ending
    }
}

impl std::fmt::Debug for CallContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallContext")
            .field("trace", &self.0.trace)
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}

// === impl CallState ===

impl CallState {
    fn edge(&self) -> Option<&Arc<Edge>> {
        match self.edge.get() {
            None => self.chosen.get().map(|chosen| &chosen.edge),
            edge => edge,
        }
    }
}

/// The last holder is the response body, or the call's future when it is dropped early: so this is
/// the end of the call.
impl Drop for CallState {
    fn drop(&mut self) {
        if let Some(edge) = self.edge() {
            let retried = self.attempt.load(Ordering::Relaxed) > 1;
            self.ending.settle(edge, self.started, retried);
        }
    }
}
