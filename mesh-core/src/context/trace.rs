use std::fmt;

use http::HeaderValue;

/// Flag bit: the caller records this trace.
pub(crate) const SAMPLED: u8 = 0x01;
/// Flag bit: the trace id is random (Trace Context level 2).
const RANDOM: u8 = 0x02;
/// Longest tracestate that is passed on, in bytes (Trace Context 3.3.1.1 asks for at least 512).
pub const MAX_TRACESTATE: usize = 4096;
/// Most members of a tracestate (Trace Context 3.3.1.1).
const MAX_MEMBERS: usize = 32;

/// Where a request stands in its trace (W3C Trace Context).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    flags: u8,
    tracestate: Option<HeaderValue>,
}

/// A `traceparent` text of 55 characters, built without allocating.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Traceparent([u8; 55]);

/// Parses a `traceparent`: `00-{32 hex}-{16 hex}-{2 hex}`, lower case. Version `ff` and zero ids are
/// refused. A version above `00` may be longer; its first 55 characters are read (Trace Context
/// 3.2.4). Fuzz entry point.
pub fn parse_traceparent(text: &str) -> Option<TraceContext> {
    let bytes = text.as_bytes();
    let dash = |at: usize| bytes.get(at) == Some(&b'-');
    if bytes.len() < 55 || !(dash(2) && dash(35) && dash(52)) {
        return None;
    }
    let [version] = decode_hex::<1>(text.get(..2)?)?;
    let ends = bytes.len() == 55 || (version > 0 && dash(55));
    if version == 0xff || !ends {
        return None;
    }
    let trace_id = decode_hex::<16>(text.get(3..35)?)?;
    let span_id = decode_hex::<8>(text.get(36..52)?)?;
    let [flags] = decode_hex::<1>(text.get(53..55)?)?;
    TraceContext::from_ids(trace_id, span_id, flags & (SAMPLED | RANDOM))
}

/// A tracestate to pass on: as it came, unless it is empty, longer than [`MAX_TRACESTATE`] or has
/// more than 32 members (Trace Context 3.3.1.1). The mesh writes no member of its own.
pub fn accept_tracestate(value: &HeaderValue) -> Option<HeaderValue> {
    let text = value.to_str().ok()?;
    let members = text.split(',').filter(|m| !m.trim().is_empty());
    let mut count = 0_usize;
    for member in members {
        count += 1;
        let (key, value) = member.trim().split_once('=')?;
        if key.is_empty() || value.is_empty() || key.len() > 256 || value.len() > 256 {
            return None;
        }
    }
    (1..=MAX_MEMBERS)
        .contains(&count)
        .then_some(())
        .filter(|()| text.len() <= MAX_TRACESTATE)
        .map(|()| value.clone())
}

// === impl TraceContext ===

impl TraceContext {
    /// A context from ids that were carried in; `None` if one of them is zero.
    pub fn from_ids(trace_id: [u8; 16], span_id: [u8; 8], flags: u8) -> Option<Self> {
        (trace_id != [0; 16] && span_id != [0; 8]).then_some(Self {
            trace_id,
            span_id,
            flags,
            tracestate: None,
        })
    }

    /// Starts a trace.
    pub fn start(sampled: bool, rng: &mut fastrand::Rng) -> Self {
        Self {
            trace_id: rng.u128(1..).to_be_bytes(),
            span_id: rng.u64(1..).to_be_bytes(),
            flags: RANDOM | if sampled { SAMPLED } else { 0 },
            tracestate: None,
        }
    }

    /// Continues the trace of the headers, or starts one. Reads `traceparent` with `tracestate`,
    /// then `b3`, then the `X-B3-*` headers. The second value says whether it was continued.
    pub fn extract(headers: &http::HeaderMap, rng: &mut fastrand::Rng) -> (Self, bool) {
        match Self::from_headers(headers) {
            Some(context) => (context, true),
            None => (Self::start(false, rng), false),
        }
    }

    /// The trace of the headers, if they carry one.
    pub fn from_headers(headers: &http::HeaderMap) -> Option<Self> {
        use crate::metadata as m;
        let text = |name: http::HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
        let mut parents = headers.get_all(m::TRACEPARENT).iter();
        if let (Some(parent), None) = (parents.next(), parents.next()) {
            // Two traceparent headers are as good as none (Trace Context 3.2.2).
            if let Some(mut context) = parent.to_str().ok().and_then(parse_traceparent) {
                context.tracestate = headers.get(m::TRACESTATE).and_then(accept_tracestate);
                return Some(context);
            }
        }
        if let Some(context) = text(m::B3).and_then(super::parse_b3) {
            return Some(context);
        }
        super::parse_b3_multi(
            text(m::B3_TRACE_ID)?,
            text(m::B3_SPAN_ID)?,
            text(m::B3_SAMPLED),
            text(m::B3_FLAGS),
        )
    }

    /// The same trace with a new span, whose parent is this one.
    #[must_use]
    pub fn child(&self, rng: &mut fastrand::Rng) -> Self {
        Self {
            span_id: rng.u64(1..).to_be_bytes(),
            ..self.clone()
        }
    }

    /// With this tracestate.
    #[must_use]
    pub fn with_tracestate(mut self, tracestate: Option<HeaderValue>) -> Self {
        self.tracestate = tracestate;
        self
    }

    /// The id of the trace.
    pub fn trace_id(&self) -> [u8; 16] {
        self.trace_id
    }

    /// The id of the span.
    pub fn span_id(&self) -> [u8; 8] {
        self.span_id
    }

    /// The flags: bit 0 sampled, bit 1 random trace id.
    pub fn flags(&self) -> u8 {
        self.flags
    }

    /// The caller records this trace.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// What other tracing systems want carried along.
    pub fn tracestate(&self) -> Option<&HeaderValue> {
        self.tracestate.as_ref()
    }

    /// The `traceparent` text.
    pub fn traceparent(&self) -> Traceparent {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        encode_hex(&self.trace_id, &mut text[3..35]);
        encode_hex(&self.span_id, &mut text[36..52]);
        encode_hex(&[self.flags], &mut text[53..55]);
        Traceparent(text)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.traceparent().as_str())
    }
}

// === impl Traceparent ===

impl Traceparent {
    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The text as bytes, for a header value.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The trace id, 32 hex digits.
    pub fn trace_id(&self) -> &str {
        self.as_str().get(3..35).unwrap_or_default()
    }

    /// The text as a header value.
    pub fn to_header(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.0).unwrap_or(HeaderValue::from_static(""))
    }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Decodes exactly `2 * N` lower-case hex digits.
pub(crate) fn decode_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let bytes = text.as_bytes();
    if bytes.len() != 2 * N {
        return None;
    }
    let mut out = [0_u8; N];
    for (pair, to) in bytes.chunks_exact(2).zip(&mut out) {
        *to = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

fn encode_hex(bytes: &[u8], out: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, to) in bytes.iter().zip(out.chunks_exact_mut(2)) {
        to[0] = DIGITS[usize::from(byte >> 4)];
        to[1] = DIGITS[usize::from(byte & 15)];
    }
}
