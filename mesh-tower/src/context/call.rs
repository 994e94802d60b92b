//! What a call carries through its stack, beside its request.

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use mesh_core::ceiling::Permit;
use mesh_core::context::{BodyClock, Criticality, TraceContext};
use mesh_core::metadata;
use mesh_core::route::session::Session;

use crate::body::MeshBody;
use crate::headers::find;
use crate::live_view::{BackendView, Place, ServiceView};
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
pub struct CallContext(Arc<CallState>);

/// How many earlier picks are remembered, and so not picked again.
const PICKS: usize = 4;

pub(crate) struct CallState {
    started: Instant,
    /// Nanoseconds after `started` that the clock last showed; `u64::MAX` where nobody keeps it.
    clock: AtomicU64,
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
    deadline: AtomicU64,
    /// The part of it that the caller of this process set, in the same terms.
    inherited: AtomicU64,
    /// What holds whatever is sent, in the same terms. All else counts from the last piece of the body.
    fixed: AtomicU64,
    body: BodyClock,
    attempt: AtomicU32,
    /// Attempts of which no byte was sent.
    unsent: AtomicU32,
    picks: [AtomicU64; PICKS],
    chosen: OnceLock<Chosen>,
    edge: OnceLock<Arc<Edge>>,
    permit: OnceLock<Permit>,
    /// A response body holds this, so the call ends when the body does.
    held: AtomicBool,
    ending: Ending,
    /// A timer of an attempt runs that fires before the deadline.
    timed: AtomicBool,
    /// The last attempt that was the probe of its endpoint; 0 if none was.
    probe: AtomicU32,
    /// Attempts may be made on other tasks than the call, as by layers that are not ours.
    elsewhere: AtomicBool,
}

/// While it exists, the timer of an attempt wakes the call before its deadline.
#[derive(Debug)]
pub(crate) struct Timed(CallContext);

/// What the route layer decided; fixed for the rest of the call, retries included. It keeps all
/// that the call reads of the policy alive and unchanged.
pub(crate) struct Chosen {
    pub(crate) service: Arc<ServiceView>,
    pub(crate) route: Option<Arc<mesh_core::policy::model::Route>>,
    pub(crate) backend: Arc<BackendView>,
    /// Where the call is counted.
    pub(crate) edge: Arc<Edge>,
    /// Its route and target in the service's view.
    pub(crate) place: Place,
    /// The session that the caller brought.
    pub(crate) session: Option<Box<Session>>,
}

/// What the application says of how much the call matters.
fn told<B>(request: &Request<B>) -> Option<Criticality> {
    request.extensions().get::<Criticality>().copied()
}

// === impl Chosen ===

impl Chosen {
    /// What the callee is told of the routing.
    pub(crate) fn stamp(&self) -> HeaderValue {
        let stamp = self.service.stamp(self.place);
        stamp.map_or(HeaderValue::from_static("1"), HeaderValue::clone)
    }
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

    /// The time as of this step of the call, on tokio's clock.
    ///
    /// A layer that passes a request down or an answer up takes no time worth a reading, so in the
    /// assembled client the clock is read where time passes: at the start, where an answer arrives
    /// from a connection, and after each wait ([`tick`](Self::tick)). Elsewhere it is read each
    /// time.
    pub fn now(&self) -> Instant {
        match self.0.clock.load(Ordering::Relaxed) {
            0 => self.0.started,
            u64::MAX => runtime::now(),
            nanos => self.0.started + Duration::from_nanos(nanos),
        }
    }

    /// Reads the clock for all that follows: to be called by whoever has waited.
    pub fn tick(&self) -> Instant {
        let now = runtime::now();
        if self.0.clock.load(Ordering::Relaxed) != u64::MAX {
            let nanos = self.nanos_until(now);
            self.0.clock.store(nanos, Ordering::Relaxed);
        }
        now
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

    /// Nanoseconds after the start that the call has as of now; `u64::MAX` for no limit. Nobody answers
    /// before the request is there: a limit counts from its last piece, but for a caller's that holds
    /// whatever is sent.
    fn limit(&self) -> u64 {
        let limit = self.0.deadline.load(Ordering::Relaxed);
        if limit == u64::MAX {
            return limit;
        }
        let moved = nanos(self.0.body.moved(self.0.started));
        let limit = limit.saturating_add(moved).min(u64::MAX - 1);
        limit.min(self.0.fixed.load(Ordering::Relaxed))
    }

    /// From the start to the last piece of the request's body.
    pub(crate) fn sent_for(&self) -> Duration {
        self.0.body.moved(self.0.started)
    }

    /// When the call must be over, if anything limits it. The pieces of a request's body move it.
    pub fn deadline(&self) -> Option<Instant> {
        match self.limit() {
            u64::MAX => None,
            nanos => self.0.started.checked_add(Duration::from_nanos(nanos)),
        }
    }

    /// What is left until the deadline; zero when it has passed.
    pub fn remaining(&self, now: Instant) -> Option<Duration> {
        self.deadline()
            .map(|deadline| deadline.saturating_duration_since(now))
    }

    /// How long the call has lasted, as of this step: see [`now`](Self::now).
    pub fn elapsed(&self) -> Duration {
        match self.0.clock.load(Ordering::Relaxed) {
            u64::MAX => runtime::now().saturating_duration_since(self.0.started),
            nanos => Duration::from_nanos(nanos),
        }
    }

    /// What is left until the deadline as of this step.
    pub(crate) fn left(&self) -> Option<Duration> {
        match self.limit() {
            u64::MAX => None,
            nanos => Some(Duration::from_nanos(nanos).saturating_sub(self.elapsed())),
        }
    }

    /// Gives the call at most `limit` from its start on.
    pub(crate) fn limit_to(&self, limit: Duration) {
        self.0.deadline.fetch_min(nanos(limit), Ordering::Relaxed);
    }

    /// Brings the deadline forward, to an instant that holds whatever is sent; a later one than there is
    /// changes nothing.
    pub fn limit_deadline(&self, deadline: Instant) {
        let nanos = self.nanos_until(deadline);
        self.0.fixed.fetch_min(nanos, Ordering::Relaxed);
        self.0.deadline.fetch_min(nanos, Ordering::Relaxed);
    }

    /// The deadline that the caller of this process set; no policy extends it.
    pub(crate) fn limit_inherited(&self, deadline: Instant, is_fixed: bool) {
        let nanos = self.nanos_until(deadline);
        self.0.inherited.fetch_min(nanos, Ordering::Relaxed);
        self.0.deadline.fetch_min(nanos, Ordering::Relaxed);
        if is_fixed {
            self.0.fixed.fetch_min(nanos, Ordering::Relaxed);
        }
    }

    pub(crate) fn has_inherited_deadline(&self) -> bool {
        self.0.inherited.load(Ordering::Relaxed) != u64::MAX
    }

    /// Replaces the default limit from the start on by the route's own; `None` leaves only the
    /// inherited deadline.
    pub(crate) fn set_local_limit(&self, limit: Option<Duration>) {
        let local = limit.map_or(u64::MAX, nanos);
        let inherited = self.0.inherited.load(Ordering::Relaxed);
        self.0
            .deadline
            .store(local.min(inherited), Ordering::Relaxed);
    }

    fn nanos_until(&self, deadline: Instant) -> u64 {
        nanos(deadline.saturating_duration_since(self.0.started))
    }

    /// The attempt that is being made, from 1.
    pub fn attempt(&self) -> u32 {
        self.0.attempt.load(Ordering::Relaxed)
    }

    pub(crate) fn set_attempt(&self, attempt: u32) {
        self.0.attempt.store(attempt, Ordering::Relaxed);
    }

    /// An attempt that will be followed by another has reached no endpoint.
    pub(crate) fn not_sent(&self) {
        self.0.unsent.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of the attempt as a callee counts: what never reached one is no attempt to it
    /// (A6: transparent retries are not counted).
    pub(crate) fn attempt_of_callee(&self) -> u32 {
        let unsent = self.0.unsent.load(Ordering::Relaxed);
        self.attempt().saturating_sub(unsent).max(1)
    }

    /// Remembers which endpoint (by its id, never 0) the current attempt went to.
    pub(crate) fn set_pick(&self, id: u64) {
        self.pick_slot(self.attempt()).store(id, Ordering::Relaxed);
    }

    /// The id of the endpoint of an attempt, 0 if none was picked.
    pub(crate) fn pick(&self, attempt: u32) -> u64 {
        self.pick_slot(attempt).load(Ordering::Relaxed)
    }

    /// The current attempt tries an endpoint for those that come after it.
    pub(crate) fn set_probe(&self) {
        self.0.probe.store(self.attempt(), Ordering::Relaxed);
    }

    pub(crate) fn is_probe(&self) -> bool {
        self.0.probe.load(Ordering::Relaxed) == self.attempt()
    }

    pub(crate) fn clear_pick(&self) {
        self.set_pick(0);
    }

    fn pick_slot(&self, attempt: u32) -> &AtomicU64 {
        &self.0.picks[attempt.saturating_sub(1) as usize % PICKS]
    }

    /// Ids of the endpoints of earlier attempts; 0 where there was none.
    pub(crate) fn earlier_picks(&self) -> [u64; PICKS] {
        let mut picks = [0; PICKS];
        let attempt = self.attempt();
        for earlier in attempt.saturating_sub(PICKS as u32).max(1)..attempt {
            picks[earlier.saturating_sub(1) as usize % PICKS] = self.pick(earlier);
        }
        picks
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

    /// Says that a timer for `at` is running in the task of this call. Then the call needs none of
    /// its own for a later deadline: it is polled in time, and sets one if the attempt was not the
    /// end of it. `None` where a layer that is not ours may leave the attempt's end unseen.
    pub(crate) fn timed(&self, at: Instant) -> Option<Timed> {
        let before = self.deadline().is_some_and(|deadline| at < deadline);
        if !before || self.0.elsewhere.load(Ordering::Relaxed) {
            return None;
        }
        self.0.timed.store(true, Ordering::Relaxed);
        Some(Timed(self.clone()))
    }

    /// Says that attempts may be made on other tasks, so that their timers do not wake the call.
    pub(crate) fn elsewhere(&self) {
        self.0.elsewhere.store(true, Ordering::Relaxed);
    }

    /// Whether a [`Timed`] exists.
    pub(crate) fn is_timed(&self) -> bool {
        self.0.timed.load(Ordering::Relaxed)
    }

    pub(crate) fn ending(&self) -> &Ending {
        &self.0.ending
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).map_or(u64::MAX - 1, |nanos| nanos.min(u64::MAX - 1))
}

impl std::fmt::Debug for CallContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallContext")
            .field("trace", &self.0.trace)
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}

// === impl Timed ===

impl Drop for Timed {
    fn drop(&mut self) {
        self.0.0.timed.store(false, Ordering::Relaxed);
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
