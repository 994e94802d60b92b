use std::time::Duration;

use mesh_core::policy::defaults;

/// What the application's code says about all calls.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Deadline of a call whose route and caller say nothing.
    pub(crate) deadline: Duration,
    /// Longest wait for a first policy or endpoint.
    pub(crate) wait: Duration,
    /// A feed will come: services that no policy names are worth waiting for.
    pub(crate) expect_feed: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            deadline: defaults::REQUEST_TIMEOUT,
            wait: defaults::WAIT_FOR_ENDPOINT,
            expect_feed: false,
        }
    }
}
