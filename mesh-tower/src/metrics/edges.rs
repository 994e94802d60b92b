use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use mesh_core::report::EdgeReport;

use super::Edge;
use crate::telemetry::Recorder;

/// All edges of one mesh: they outlive views of the policy, so that no count is lost when a policy
/// changes.
pub(crate) struct Edges {
    recorder: Recorder,
    all: Mutex<HashMap<ToAndRoute, Arc<Edge>>>,
}

type ToAndRoute = (Arc<str>, Arc<str>);

// === impl Edges ===

impl Edges {
    pub(crate) fn new(recorder: Recorder) -> Self {
        Self {
            recorder,
            all: Mutex::default(),
        }
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// The edge to a service over a route; made on first use, when a view is built.
    pub(crate) fn edge(&self, to: &Arc<str>, route: &Arc<str>) -> Arc<Edge> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry((to.clone(), route.clone()))
            .or_insert_with(|| Arc::new(Edge::new(to.clone(), route.clone(), &self.recorder)))
            .clone()
    }

    /// What was counted since the last call; edges without traffic are left out, and those that no
    /// view uses any more are forgotten.
    pub(crate) fn report(&self) -> Vec<EdgeReport> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reports = Vec::new();
        all.retain(|_, edge| {
            let unused = Arc::strong_count(edge) == 1;
            reports.extend(edge.take_report());
            !unused
        });
        reports.sort_by(|a: &EdgeReport, b| (&a.to, &a.route).cmp(&(&b.to, &b.route)));
        reports
    }
}
