//! Names of the headers that the mesh reads and writes, in one place.

use http::{HeaderName, HeaderValue};

/// Number of this attempt, from 1, when it is a retry: a callee that sees it does not retry further
/// below (chain stop). Absent on a first attempt.
pub const ATTEMPT: HeaderName = HeaderName::from_static("x-mesh-attempt");

/// The code (`M2003`) of an answer that was made by the mesh and not by the application.
pub const REASON: HeaderName = HeaderName::from_static("mesh-reason");

/// Time left for a gRPC call, at most 8 digits and a unit (gRPC over HTTP/2, "Requests").
pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Time left for an HTTP call in milliseconds, relative to when it was sent: to its last piece, if it has a body
/// that is longer on its way.
pub const TIMEOUT_MS: HeaderName = HeaderName::from_static("x-mesh-timeout-ms");

/// Number of earlier attempts of a gRPC call (gRFC A6); 0 is not sent.
pub const PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");

/// How long a gRPC server asks its clients to wait before a retry, in milliseconds; negative means
/// "do not retry" (gRFC A6).
pub const RETRY_PUSHBACK_MS: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// On a failed HTTP answer between peers of the mesh: what failed was tried again below, or could not
/// be; the caller is not to try it again. gRPC says so with [`RETRY_PUSHBACK_MS`].
pub const RETRIED: HeaderName = HeaderName::from_static("x-mesh-retried");

/// On a failure that the callee's mesh answers itself: what became of the request, [`UNPROCESSED`], [`UNREACHED`] or
/// [`BROKEN`].
/// Not of any call below: the mesh takes it from what a handler answers.
pub const OUTCOME: HeaderName = HeaderName::from_static("x-mesh-outcome");

/// [`OUTCOME`]: the server sheds it, so that even one that is not idempotent may be sent elsewhere.
pub const UNPROCESSED: HeaderValue = HeaderValue::from_static("unprocessed");

/// [`OUTCOME`]: the application could not be reached, as if the caller could not have.
pub const UNREACHED: HeaderValue = HeaderValue::from_static("unreached");

/// [`OUTCOME`]: the application ended the connection before an answer, as if it had done so to the caller.
pub const BROKEN: HeaderValue = HeaderValue::from_static("broken");

/// Set by a client that routed the call through a policy, with what it chose: see
/// [`crate::context::Stamp`]. Calls without it bypassed the mesh.
pub const ROUTED: HeaderName = HeaderName::from_static("x-mesh-routed");

/// Set on a copy of a call that a route mirrors: nobody waits for its answer.
pub const MIRROR: HeaderName = HeaderName::from_static("x-mesh-mirror");

/// How much a call matters, inherited down the call: see [`crate::context::Criticality`].
pub const CRITICALITY: HeaderName = HeaderName::from_static("x-mesh-criticality");

/// W3C trace context: the id of the trace and of the caller's span.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// W3C trace context: what other tracing systems want carried along.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// W3C baggage: passed on as it is, never trusted for a decision.
pub const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// Zipkin's single header.
pub const B3: HeaderName = HeaderName::from_static("b3");
/// Zipkin's trace id, 16 or 32 hex digits.
pub const B3_TRACE_ID: HeaderName = HeaderName::from_static("x-b3-traceid");
/// Zipkin's span id, 16 hex digits.
pub const B3_SPAN_ID: HeaderName = HeaderName::from_static("x-b3-spanid");
/// Zipkin's sampling decision, `0` or `1`.
pub const B3_SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
/// Zipkin's flags; `1` means debug, which implies sampled.
pub const B3_FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

/// gRPC status, in trailers or, when a call has no body, in headers.
pub const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// gRPC message, percent-encoded.
pub const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Asks for a load report with the answer, `TEXT` or `BIN` (as model servers have it).
pub const LOAD_FORMAT: HeaderName = HeaderName::from_static("endpoint-load-metrics-format");
/// A load report as text, or `BIN` and base64 (ORCA): see [`crate::balance::LoadReport`].
pub const LOAD: HeaderName = HeaderName::from_static("endpoint-load-metrics");
/// A load report as a protobuf message (ORCA), in trailers or headers of gRPC answers.
pub const LOAD_BIN: HeaderName = HeaderName::from_static("endpoint-load-metrics-bin");
