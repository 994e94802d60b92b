//! What a rule can refer to by `ExtensionRef`, group `policy.mesh`, in its own namespace.

use super::{HashOn, HeaderValue, Interval, Ratio, choice, schema};

schema! {
    /// Faults that are made on purpose, to see how a caller copes.
    #[derive(Default)]
    pub struct FaultSpec {
        /// Some calls are sent later.
        delay: Option<Delay> = "delay" default;
        /// Some calls are answered with an error, and not sent.
        abort: Option<Abort> = "abort" default;
        /// Only calls with this header.
        header: Option<FaultHeader> = "header" default;
        /// With a seed the same calls in the same order have the same faults.
        seed: Option<u32> = "seed" default;
        /// Calls of a process that may be delayed at a time; others pass without.
        max_active: Option<u32> = "maxActive" default;
        /// Last moment, `2026-12-31` (until the end of that day, UTC) or `2026-12-31T18:00:00Z`.
        expires: Option<String> = "expires" default;
    }
}

schema! {
    /// Some calls are sent later.
    #[derive(Default)]
    pub struct Delay {
        /// How much later, at most `1h`.
        duration: Interval = "duration";
        /// How many calls in percent, such as `0.1`; all when left out.
        percent: Option<Ratio> = "percent" default;
    }
}

schema! {
    /// Some calls are answered with an error: either of `status` and `grpc`.
    #[derive(Default)]
    pub struct Abort {
        /// An HTTP status, 200 to 599.
        status: Option<u16> = "status" default;
        /// A gRPC code.
        grpc: Option<GrpcCode> = "grpc" default;
        /// How many calls in percent, such as `0.1`; all when left out.
        percent: Option<Ratio> = "percent" default;
    }
}

schema! {
    /// A header that a call must have.
    #[derive(Default)]
    pub struct FaultHeader {
        /// Its name, in any case.
        name: String = "name";
        /// Its value; any when left out.
        value: Option<String> = "value" default;
    }
}

choice! {
    /// A gRPC code that says an error.
    pub enum GrpcCode {
        /// 1
        Cancelled = "CANCELLED",
        /// 2
        Unknown = "UNKNOWN",
        /// 3
        InvalidArgument = "INVALID_ARGUMENT",
        /// 4
        DeadlineExceeded = "DEADLINE_EXCEEDED",
        /// 5
        NotFound = "NOT_FOUND",
        /// 6
        AlreadyExists = "ALREADY_EXISTS",
        /// 7
        PermissionDenied = "PERMISSION_DENIED",
        /// 8
        ResourceExhausted = "RESOURCE_EXHAUSTED",
        /// 9
        FailedPrecondition = "FAILED_PRECONDITION",
        /// 10
        Aborted = "ABORTED",
        /// 11
        OutOfRange = "OUT_OF_RANGE",
        /// 12
        Unimplemented = "UNIMPLEMENTED",
        /// 13
        Internal = "INTERNAL",
        /// 14
        Unavailable = "UNAVAILABLE",
        /// 15
        DataLoss = "DATA_LOSS",
        /// 16
        Unauthenticated = "UNAUTHENTICATED",
    }
}

schema! {
    /// An answer that is given instead of sending the call.
    #[derive(Default)]
    pub struct DirectResponseSpec {
        /// Its status, 200 to 599.
        status: u16 = "status";
        /// Its body, at most 64 KiB; none when left out.
        body: Option<String> = "body" default;
        /// `content-type` of the body; `text/plain; charset=utf-8` when left out.
        content_type: Option<String> = "contentType" default;
    }
}

schema! {
    /// What decides about the target of a split instead of chance: calls of one hash keep their
    /// target when weights change, as far as the new weights allow.
    #[derive(Default)]
    pub struct StickySplitSpec {
        /// What the hash is taken of, in this order.
        hash_on: Vec<HashOn> = "hashOn" default;
    }
}

schema! {
    /// Edits of the trailers of an answer, applied in the order set, add, remove.
    #[derive(Default)]
    pub struct TrailerEditSpec {
        /// Replaced, or added when absent.
        set: Vec<HeaderValue> = "set" default;
        /// Added beside what is there.
        add: Vec<HeaderValue> = "add" default;
        /// Removed, by name.
        remove: Vec<String> = "remove" default;
    }
}

impl GrpcCode {
    /// Its number, 1 to 16.
    pub fn number(self) -> u16 {
        let at = Self::CHOICES.iter().position(|text| *text == self.as_str());
        at.and_then(|n| u16::try_from(n + 1).ok()).unwrap_or(2)
    }
}
