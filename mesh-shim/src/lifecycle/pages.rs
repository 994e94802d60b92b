use mesh_tower::mesh::AdminPages;
use mesh_tower::runtime::AbortOnDrop;
use tokio::net::TcpListener;

use crate::admin::Board;
use crate::error::ShimError;
use crate::listeners::Listeners;

/// Health and metrics, each on a listener of its own. After a takeover they are the predecessor's
/// until this shim is ready, and closed at once when a successor is.
pub(super) struct Pages {
    waiting: Vec<(AdminPages, TcpListener)>,
    metrics: Option<(AdminPages, TcpListener)>,
    held: bool,
    running: Vec<AbortOnDrop>,
}

impl Pages {
    /// `held`: somebody else answers until [`Pages::release`].
    pub(super) fn new(
        board: &Board,
        listeners: &mut Listeners,
        held: bool,
    ) -> Result<Self, ShimError> {
        let mut pages = Self {
            waiting: vec![(board.health(), listeners.health()?)],
            metrics: Some((board.metrics(), listeners.metrics()?)),
            held,
            running: Vec::new(),
        };
        pages.serve();
        Ok(pages)
    }

    /// There is something to measure.
    pub(super) fn joined(&mut self) {
        self.waiting.extend(self.metrics.take());
        self.serve();
    }

    fn serve(&mut self) {
        if self.held {
            return;
        }
        for (pages, listener) in self.waiting.drain(..) {
            self.running.push(AbortOnDrop::spawn(pages.serve(listener)));
        }
    }

    /// Nobody else answers any more.
    pub(super) fn release(&mut self) {
        self.held = false;
        self.serve();
    }

    pub(super) fn close(&mut self) {
        self.running.clear();
    }
}
