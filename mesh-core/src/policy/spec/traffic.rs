use super::{Interval, PeerSelector, Ratio, RequestSelector, TargetRef, choice, schema};
use crate::context;

schema! {
    /// What a server does with the calls that arrive, and when a caller holds back. Each field of
    /// `inbound` and of `outbound` is taken from the most specific policy that sets it.
    #[derive(Default)]
    pub struct TrafficPolicySpec {
        /// What the policy is attached to.
        target_refs: Vec<TargetRef> = "targetRefs" default;
        /// Calls that arrive at the target.
        inbound: Option<InboundTraffic> = "inbound" default;
        /// Calls that are sent to the target.
        outbound: Option<OutboundTraffic> = "outbound" default;
    }
}

schema! {
    /// Calls that arrive.
    #[derive(Default)]
    pub struct InboundTraffic {
        /// How many calls in a time; an empty list takes those of less specific policies away.
        rate_limits: Option<Vec<RateLimit>> = "rateLimits" default;
        /// How many calls are worked on at a time.
        concurrency: Option<Concurrency> = "concurrency" default;
        /// Where the others wait.
        queue: Option<Queue> = "queue" default;
        /// How much calls matter.
        criticality: Option<CriticalityRules> = "criticality" default;
        /// Longest time for an answer, whatever the caller allows.
        timeout: Option<Interval> = "timeout" default;
    }
}

schema! {
    /// Calls that are sent.
    #[derive(Default)]
    pub struct OutboundTraffic {
        /// When a caller refuses calls itself, because most of them would be refused.
        throttle: Option<Throttle> = "throttle" default;
    }
}

schema! {
    /// `requests` in `per`, of which `burst` may come at once.
    #[derive(Default)]
    pub struct RateLimit {
        /// Its name, a label of metrics; `policy/number` when left out.
        name: Option<String> = "name" default;
        /// What divides calls into buckets of their own; one for all calls when left out.
        by: Vec<RateKey> = "by" default;
        /// Calls in `per`.
        requests: u32 = "requests";
        /// The time; `1s` when left out, at most `1h`.
        per: Option<Interval> = "per" default;
        /// Calls that may come at once; `requests` when left out.
        burst: Option<u32> = "burst" default;
        /// Calls that count, any of these; every call when left out.
        matches: Vec<RequestSelector> = "matches" default;
        /// Other numbers for some callers; the first that names the caller counts.
        overrides: Vec<RateOverride> = "overrides" default;
    }
}

schema! {
    /// What divides calls: exactly one of the four.
    #[derive(Default)]
    pub struct RateKey {
        /// The caller's identity; callers without one share a bucket.
        identity: Option<bool> = "identity" default;
        /// The value of a header; calls without it share a bucket.
        header: Option<String> = "header" default;
        /// The HTTP method.
        method: Option<bool> = "method" default;
        /// The path, without the query.
        path: Option<bool> = "path" default;
    }
}

schema! {
    /// Another number for some callers.
    #[derive(Default)]
    pub struct RateOverride {
        /// The callers.
        from: Vec<PeerSelector> = "from" default;
        /// Calls in the time of the limit.
        requests: u32 = "requests";
        /// Calls that may come at once; `requests` when left out.
        burst: Option<u32> = "burst" default;
    }
}

choice! {
    /// How the limit of concurrency is found.
    pub enum ConcurrencyAlgorithm {
        /// By the ratio of usual to present latency (Netflix).
        Gradient2 = "Gradient2",
        /// By the queue that the latency shows (TCP Vegas).
        Vegas = "Vegas",
        /// One up on success, a part down on a drop.
        Aimd = "Aimd",
        /// It is `initial`.
        Fixed = "Fixed",
        /// There is none.
        Off = "Off",
    }
}

schema! {
    /// How many calls are worked on at a time.
    #[derive(Default)]
    pub struct Concurrency {
        /// How the limit is found.
        algorithm: Option<ConcurrencyAlgorithm> = "algorithm" default;
        /// The limit at the start; with `Fixed`, the limit.
        initial: Option<u32> = "initial" default;
        /// Least limit.
        min: Option<u32> = "min" default;
        /// Greatest limit.
        max: Option<u32> = "max" default;
        /// Part of a new value that counts at once, above 0, at most 1 (Gradient2).
        smoothing: Option<Ratio> = "smoothing" default;
        /// Latency against the usual one that is still no queue, 1 to 10 (Gradient2).
        tolerance: Option<Ratio> = "tolerance" default;
        /// Calls by which the limit may grow at a time (Gradient2).
        queue: Option<u32> = "queue" default;
        /// Samples of the usual latency (Gradient2).
        long_window: Option<u32> = "longWindow" default;
        /// What is left of the limit after a drop, below 1 (Aimd).
        backoff: Option<Ratio> = "backoff" default;
        /// A call that takes longer counts as a drop (Aimd).
        slow_after: Option<Interval> = "slowAfter" default;
    }
}

schema! {
    /// Where calls wait that are above the limit.
    #[derive(Default)]
    pub struct Queue {
        /// Most calls that wait; 0 is no queue.
        size: Option<u32> = "size" default;
        /// A wait that is acceptable at all times.
        target: Option<Interval> = "target" default;
        /// The queue is overloaded when no call waited less than `target` for so long.
        interval: Option<Interval> = "interval" default;
    }
}

choice! {
    /// How much a call matters (SRE book, "Criticality").
    pub enum Criticality {
        /// Shed first. The default of batch work.
        Sheddable = "Sheddable",
        /// Shed when some partial unavailability is expected.
        SheddablePlus = "SheddablePlus",
        /// Its loss is visible to users.
        Critical = "Critical",
        /// Shed last.
        CriticalPlus = "CriticalPlus",
    }
}

schema! {
    /// How much calls matter.
    #[derive(Default)]
    pub struct CriticalityRules {
        /// The header of callers with an identity of the mesh counts; that of others never does.
        trust_mesh: Option<bool> = "trustMesh" default;
        /// The level of calls that no rule and no header gives one.
        default_level: Option<Criticality> = "default" default;
        /// The first rule that fits gives the level.
        rules: Vec<CriticalityRule> = "rules" default;
    }
}

schema! {
    /// Calls of one level, whatever their header says.
    pub struct CriticalityRule {
        /// The callers; everyone when left out.
        from: Vec<PeerSelector> = "from" default;
        /// The calls, any of these; every call when left out.
        matches: Vec<RequestSelector> = "matches" default;
        /// Their level.
        level: Criticality = "level";
    }
}

schema! {
    /// Refuses calls itself with probability max(0, (requests - k x accepts) / (requests + 1)).
    #[derive(Default)]
    pub struct Throttle {
        /// `false` switches off what a less specific policy switched on.
        enabled: Option<bool> = "enabled" default;
        /// Above 1; lower refuses sooner.
        k: Option<Ratio> = "k" default;
        /// Time over which requests and accepts are counted.
        window: Option<Interval> = "window" default;
        /// Most of the calls that are refused, in percent, 1 to 99.
        max_reject_percent: Option<u32> = "maxRejectPercent" default;
    }
}

impl From<Criticality> for context::Criticality {
    fn from(level: Criticality) -> Self {
        match level {
            Criticality::Sheddable => Self::Sheddable,
            Criticality::SheddablePlus => Self::SheddablePlus,
            Criticality::Critical => Self::Critical,
            Criticality::CriticalPlus => Self::CriticalPlus,
        }
    }
}
