use super::{Interval, Ratio, choice, schema};

choice! {
    /// How an endpoint is chosen.
    pub enum Algorithm {
        /// Two at random; the one whose peak EWMA of latency, times calls in flight, is lower.
        PeakEwma = "PeakEwma",
        /// Two at random; the one with fewer calls in flight per weight.
        LeastRequest = "LeastRequest",
        /// One after the other.
        RoundRobin = "RoundRobin",
        /// At random.
        Random = "Random",
        /// One after the other, as often as its reports of load say (gRFC A58).
        ClientWeighted = "ClientWeighted",
        /// By hash, on a ring (gRFC A42).
        RingHash = "RingHash",
        /// By hash, from a table: moves fewer keys than chance, costs less than a ring.
        Maglev = "Maglev",
    }
}

schema! {
    /// Which endpoint takes a call.
    #[derive(Default)]
    pub struct LoadBalancing {
        /// How it is chosen.
        algorithm: Option<Algorithm> = "algorithm" default;
        /// Time in which an old latency fades to 1/e (PeakEwma).
        decay: Option<Interval> = "decay" default;
        /// Latency assumed of an endpoint that has answered nothing yet (PeakEwma).
        default_rtt: Option<Interval> = "defaultRtt" default;
        /// Latency that a failed call counts as, at least (PeakEwma).
        failure_penalty: Option<Interval> = "failurePenalty" default;
        /// With fewer than this percentage of endpoints available, all are used; 0 never.
        panic_percent: Option<u32> = "panicPercent" default;
        /// In panic, calls fail instead of trying every endpoint.
        fail_on_panic: Option<bool> = "failOnPanic" default;
        /// Time in which the share of a returning endpoint grows to its full size; `0s` at once.
        slow_start: Option<Interval> = "slowStart" default;
        /// Share that a returning endpoint starts with, in percent.
        slow_start_min_percent: Option<u32> = "slowStartMinPercent" default;
        /// Shape of the growth: the share is (elapsed / window)^(1 / this); 1 is a straight line.
        slow_start_aggression: Option<Ratio> = "slowStartAggression" default;
        /// How many endpoints are looked at for one call, 2 to 10 (PeakEwma, LeastRequest).
        choices: Option<u32> = "choices" default;
        /// How strongly calls in flight count: weight / (active + 1)^this (LeastRequest).
        request_bias: Option<Ratio> = "requestBias" default;
        /// What a hash is taken of, in this order (RingHash, Maglev).
        hash_on: Vec<HashOn> = "hashOn" default;
        /// Fewest places on the ring (RingHash).
        min_ring_size: Option<u32> = "minRingSize" default;
        /// Most places on the ring, at most 8388608 (RingHash).
        max_ring_size: Option<u32> = "maxRingSize" default;
        /// Places of the table, a prime of at most 5000011 (Maglev).
        maglev_table_size: Option<u32> = "maglevTableSize" default;
        /// An endpoint with more than this percentage of the mean of calls in flight is passed over;
        /// 0 is off, else at least 100 (RingHash, Maglev).
        bounded_load_percent: Option<u32> = "boundedLoadPercent" default;
        /// How reports of load become weights (ClientWeighted).
        orca: Option<Orca> = "orca" default;
        /// With more endpoints than this, each client uses an arc of them; 0 never.
        aperture_above: Option<u32> = "apertureAbove" default;
        /// Fewest endpoints of an arc.
        aperture_min: Option<u32> = "apertureMin" default;
        /// Each client uses this many endpoints, chosen by hash, instead of an arc; 0 is off.
        subset_size: Option<u32> = "subsetSize" default;
    }
}

schema! {
    /// One part of what a hash is taken of: exactly one of `header`, `cookie`, `source`, `query`.
    #[derive(Default)]
    pub struct HashOn {
        /// The value of a header.
        header: Option<String> = "header" default;
        /// The value of a cookie.
        cookie: Option<CookieHash> = "cookie" default;
        /// The caller: its identity, else its address.
        source: Option<bool> = "source" default;
        /// The first value of a query parameter.
        query: Option<String> = "query" default;
        /// If this part is there, those behind it do not count.
        terminal: Option<bool> = "terminal" default;
    }
}

schema! {
    /// A cookie that is hashed.
    #[derive(Default)]
    pub struct CookieHash {
        /// Its name.
        name: String = "name";
        /// A caller without the cookie is given one that lives so long; `0s` is as long as its own
        /// session. Left out, none is given.
        ttl: Option<Interval> = "ttl" default;
        /// `Path` of a cookie that is given.
        path: Option<String> = "path" default;
    }
}

schema! {
    /// How reports of load become weights (gRFC A58).
    #[derive(Default)]
    pub struct Orca {
        /// Time for which a new endpoint's reports do not count.
        blackout: Option<Interval> = "blackout" default;
        /// Age at which a weight is forgotten.
        expiration: Option<Interval> = "expiration" default;
        /// How often weights are computed anew, at least 100ms.
        period: Option<Interval> = "period" default;
        /// How strongly errors lower a weight.
        error_penalty: Option<Ratio> = "errorPenalty" default;
    }
}

schema! {
    /// How calls are divided between zones and priorities.
    #[derive(Default)]
    pub struct Locality {
        /// A zone or priority keeps all its calls until it has lost more than this allows: health is
        /// min(100, this x healthy / total); at least 100.
        overprovisioning_percent: Option<u32> = "overprovisioningPercent" default;
        /// With fewer endpoints than this, zones are not looked at.
        zone_aware_min_endpoints: Option<u32> = "zoneAwareMinEndpoints" default;
        /// Share of the calls for which the own zone is preferred, in percent; 0 is off.
        zone_routing_percent: Option<u32> = "zoneRoutingPercent" default;
        /// Endpoints of a higher priority number take calls when those before them fail.
        failover: Option<bool> = "failover" default;
    }
}
