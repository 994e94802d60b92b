use tower_layer::Layer;

use super::CatchPanic;

/// Turns panics of the inner service into answers.
#[derive(Clone, Copy, Debug, Default)]
pub struct CatchPanicLayer(());

// === impl CatchPanicLayer ===

impl CatchPanicLayer {
    /// The layer has no settings.
    pub const fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for CatchPanicLayer {
    type Service = CatchPanic<S>;

    fn layer(&self, inner: S) -> CatchPanic<S> {
        CatchPanic { inner }
    }
}
