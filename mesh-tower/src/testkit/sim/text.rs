//! A scenario as YAML. Unknown fields are errors, with line and column.

use std::collections::BTreeMap;

use mesh_core::policy::spec::Interval;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Text {
    pub(super) name: String,
    #[serde(default)]
    pub(super) seed: Option<u64>,
    #[serde(default, rename = "for")]
    pub(super) lasting: Option<Interval>,
    #[serde(default)]
    pub(super) policy: String,
    #[serde(default)]
    pub(super) across_zones: Option<Interval>,
    pub(super) services: BTreeMap<String, ServiceText>,
    pub(super) load: Vec<LoadText>,
    #[serde(default)]
    pub(super) events: Vec<EventText>,
    #[serde(default)]
    pub(super) expect: Vec<ExpectText>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ServiceText {
    pub(super) endpoints: usize,
    #[serde(default)]
    pub(super) zones: Vec<String>,
    #[serde(default)]
    pub(super) mesh: bool,
    #[serde(default)]
    pub(super) calls: Vec<String>,
    #[serde(default)]
    pub(super) latency: Option<LatencyText>,
    #[serde(default)]
    pub(super) capacity: Option<CapacityText>,
    #[serde(default)]
    pub(super) fail: Option<FailText>,
    /// Labels by host, in order.
    #[serde(default)]
    pub(super) labels: Vec<BTreeMap<String, String>>,
    /// Weights by host, in order.
    #[serde(default)]
    pub(super) weights: Vec<u32>,
    /// Priorities by host, in order.
    #[serde(default)]
    pub(super) priorities: Vec<u32>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct LatencyText {
    #[serde(default)]
    pub(super) fixed: Option<Interval>,
    #[serde(default)]
    pub(super) median: Option<Interval>,
    #[serde(default)]
    pub(super) p99: Option<Interval>,
    #[serde(default)]
    pub(super) from: Option<Interval>,
    #[serde(default)]
    pub(super) to: Option<Interval>,
    #[serde(default)]
    pub(super) mean: Option<Interval>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CapacityText {
    pub(super) concurrent: usize,
    #[serde(default)]
    pub(super) queue: usize,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct FailText {
    pub(super) percent: f64,
    #[serde(default)]
    pub(super) status: Option<u16>,
    #[serde(default)]
    pub(super) latency: Option<LatencyText>,
    /// Seconds.
    #[serde(default)]
    pub(super) retry_after: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct LoadText {
    pub(super) to: String,
    pub(super) rate: f64,
    #[serde(default)]
    pub(super) from: Option<String>,
    #[serde(default)]
    pub(super) callers: Option<usize>,
    #[serde(default)]
    pub(super) zone: Option<String>,
    #[serde(default)]
    pub(super) method: Option<String>,
    #[serde(default)]
    pub(super) path: Option<String>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) arrivals: Option<ArrivalsText>,
    #[serde(default)]
    pub(super) begin: Option<Interval>,
    #[serde(default)]
    pub(super) end: Option<Interval>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "camelCase")]
pub(super) enum ArrivalsText {
    Paced,
    Random,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct EventText {
    pub(super) at: Interval,
    /// `reviews#0`, or `reviews` for all.
    #[serde(default)]
    pub(super) host: Option<String>,
    #[serde(default)]
    pub(super) fail: Option<FailText>,
    #[serde(default)]
    pub(super) latency: Option<LatencyText>,
    #[serde(default)]
    pub(super) capacity: Option<CapacityText>,
    #[serde(default)]
    pub(super) down: bool,
    #[serde(default)]
    pub(super) hang: bool,
    #[serde(default)]
    pub(super) heal: bool,
    #[serde(default)]
    pub(super) discovered: Option<bool>,
    #[serde(default)]
    pub(super) policy: Option<String>,
    #[serde(default)]
    pub(super) load: Option<usize>,
    #[serde(default)]
    pub(super) rate: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ExpectText {
    pub(super) what: What,
    /// A host or a service.
    #[serde(default)]
    pub(super) of: Option<String>,
    #[serde(default)]
    pub(super) load: Option<usize>,
    #[serde(default)]
    pub(super) from: Option<Interval>,
    #[serde(default)]
    pub(super) to: Option<Interval>,
    #[serde(default)]
    pub(super) at_least: Option<f64>,
    #[serde(default)]
    pub(super) at_most: Option<f64>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "camelCase")]
pub(super) enum What {
    /// Percent.
    Success,
    /// Milliseconds.
    P50,
    P95,
    P99,
    /// Percent.
    Share,
    /// Requests a call.
    Amplification,
    Ejected,
    /// Calls a second.
    Goodput,
    /// Seconds.
    Back,
    /// Percent.
    Returning,
    /// Percent.
    Peak,
    /// A sum over all processes.
    Metric,
}
