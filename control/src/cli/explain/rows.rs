//! What holds for a service, as rows: the JSON, and what the tables are printed from.

use serde::Serialize;

use super::source::{Setting, Source};

/// Everything that holds for one service.
#[derive(Debug, Serialize)]
pub(super) struct Effective {
    pub(super) service: String,
    pub(super) revision: String,
    /// The Service resource; `null` when none defines it.
    pub(super) defined: Option<Source>,
    /// Which route is tried when, for each group of ports with the same answer.
    pub(super) tables: Vec<Table>,
    pub(super) routes: Vec<RouteSettings>,
    pub(super) backends: Vec<Backends>,
    pub(super) access: Access,
    pub(super) transport: Vec<Setting>,
    /// What its servers do with the calls that arrive.
    pub(super) inbound: Vec<Setting>,
    /// What else one should know.
    pub(super) notes: Vec<String>,
}

/// The routes of calls to some ports, in the order in which they are tried.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    /// Empty is every port.
    pub(super) ports: Vec<u16>,
    pub(super) steps: Vec<Step>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Step {
    #[serde(rename = "match")]
    pub(super) condition: String,
    pub(super) targets: Vec<Target>,
    /// What answers in place of a backend.
    pub(super) redirect: Option<String>,
    pub(super) route: String,
    pub(super) from: Source,
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Target {
    pub(super) backend: String,
    pub(super) weight: u32,
}

#[derive(Debug, Serialize)]
pub(super) struct RouteSettings {
    pub(super) route: String,
    pub(super) from: Source,
    pub(super) settings: Vec<Setting>,
    /// Changes on the way.
    pub(super) filters: Vec<String>,
}

/// Backends that are treated alike.
#[derive(Debug, Serialize)]
pub(super) struct Backends {
    pub(super) backends: Vec<BackendRow>,
    pub(super) settings: Vec<Setting>,
}

#[derive(Debug, Serialize)]
pub(super) struct BackendRow {
    pub(super) name: String,
    pub(super) protocol: &'static str,
    pub(super) tls: &'static str,
    pub(super) endpoints: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Access {
    /// `open`, `audit` or `enforce`.
    pub(super) mode: &'static str,
    pub(super) allow: Vec<String>,
    pub(super) from: Source,
}
