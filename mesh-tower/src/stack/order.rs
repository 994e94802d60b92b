//! The two order tables: what sits where in a stack, and why there.

/// One row of an order table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The row's number in the architecture's table; several layers may share one.
    pub number: u8,
    /// The layer's name, which is also its folder's and what `describe()` prints.
    pub name: &'static str,
    /// Where it must be.
    pub must_be: &'static str,
    /// The reason for that place.
    pub because: &'static str,
}

const fn slot(
    number: u8,
    name: &'static str,
    must_be: &'static str,
    because: &'static str,
) -> Slot {
    Slot {
        number,
        name,
        must_be,
        because,
    }
}

/// A call, outbound. The first row is nearest the application.
pub const CLIENT_ORDER: &[Slot] = &[
    slot(
        1,
        "trace",
        "outermost",
        "one span per call, whatever happens below",
    ),
    slot(
        1,
        "metrics",
        "outermost",
        "one count per call, whatever happens below",
    ),
    slot(
        1,
        "rescue",
        "outermost",
        "every failure of the mesh becomes an answer with a code",
    ),
    slot(
        2,
        "deadline",
        "above route's waits",
        "waiting for a first policy is bounded too",
    ),
    slot(
        3,
        "route",
        "above all readers of policy",
        "one policy version for the whole call, retries included",
    ),
    slot(
        4,
        "timeout",
        "below route, above retry",
        "its value comes from the route; it covers all attempts",
    ),
    slot(
        4,
        "throttle",
        "above ceiling and retry",
        "a call that is held back takes no place and no attempt",
    ),
    slot(
        4,
        "ceiling",
        "below route, above retry",
        "a call is counted once, not per attempt",
    ),
    slot(
        4,
        "seam A (logical)",
        "between calls and attempts",
        "the user's layers that see a call once",
    ),
    slot(
        5,
        "retry",
        "above balance",
        "another attempt may choose another endpoint",
    ),
    slot(
        5,
        "hedge",
        "with retry",
        "the attempts of a call are counted together",
    ),
    slot(
        6,
        "attempt",
        "below retry",
        "each attempt has its own span id and attempt number",
    ),
    slot(
        6,
        "breaker",
        "below retry, above balance and attempt_timeout",
        "each attempt asks, a refused one takes no endpoint's probe, and a timeout is a failure",
    ),
    slot(
        6,
        "seam B (attempt)",
        "between attempts and endpoints",
        "the user's layers that see every attempt",
    ),
    slot(
        7,
        "balance",
        "above endpoint",
        "it picks the endpoint, and waits for one in bounds",
    ),
    slot(
        8,
        "endpoint",
        "above attempt_timeout",
        "a timeout is load, a stream is load until its body ends",
    ),
    slot(
        9,
        "ejection",
        "below balance, above attempt_timeout",
        "it must see timeouts",
    ),
    slot(10, "attempt_timeout", "above pool", "connecting counts"),
    slot(
        10,
        "seam C (endpoint)",
        "between policy and connections",
        "the user's layers that see one endpoint",
    ),
    slot(11, "pool", "innermost", "h1 or h2, mutual TLS, TCP"),
];

/// A request, inbound. The first row is nearest the network.
pub const SERVER_ORDER: &[Slot] = &[
    slot(1, "accept", "outermost", "it stops first when draining"),
    slot(
        2,
        "tls",
        "below accept",
        "the peer's identity belongs to the connection",
    ),
    slot(3, "http", "below tls", "h1 or h2 by ALPN or preface"),
    slot(
        4,
        "catch_panic",
        "above the user's code",
        "a panic is an answer, not a dead connection",
    ),
    slot(5, "trace", "above metrics and log", "both carry the trace"),
    slot(6, "metrics", "above rescue", "it counts what the peer sees"),
    slot(
        7,
        "access_log",
        "above rescue",
        "it logs what the peer sees",
    ),
    slot(
        8,
        "load_report",
        "above rescue",
        "errors that the mesh answers are load too, and callers weigh by them",
    ),
    slot(
        8,
        "rescue",
        "below metrics",
        "an error becomes an HTTP or gRPC answer with its code",
    ),
    slot(
        9,
        "deadline",
        "below rescue",
        "an expired request is answered, not served",
    ),
    slot(10, "health", "above access", "probes always pass"),
    slot(
        11,
        "access",
        "before any work is done",
        "a denied peer costs nothing",
    ),
    slot(
        12,
        "criticality",
        "below access, above all limits",
        "they shed what matters least",
    ),
    slot(
        13,
        "ratelimit",
        "below access, above overload",
        "only allowed peers use up a limit, and what is above its quota takes no place",
    ),
    slot(
        14,
        "overload",
        "above timeout",
        "a wait for a place counts against the caller's deadline, not the application's time",
    ),
    slot(15, "timeout", "above the user's layers", "it bounds them"),
    slot(
        16,
        "service",
        "innermost",
        "the user's layers and service, inside the request's context",
    ),
];

/// The names of a table, in its order: what `describe()` of a built stack must equal.
pub fn names(table: &[Slot]) -> Vec<&'static str> {
    table.iter().map(|slot| slot.name).collect()
}
