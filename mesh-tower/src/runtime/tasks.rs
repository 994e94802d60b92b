use std::future::Future;
use std::sync::Mutex;

use tokio::task::JoinHandle;

/// A task that ends with its owner.
#[derive(Debug)]
pub struct AbortOnDrop(JoinHandle<()>);

/// The background tasks of a `Mesh`: all end when it is dropped.
#[derive(Debug, Default)]
pub struct Tasks(Mutex<Vec<AbortOnDrop>>);

// === impl AbortOnDrop ===

impl AbortOnDrop {
    /// Starts a task on the current runtime.
    pub fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(future))
    }

    #[cfg(test)]
    pub(crate) fn id(&self) -> tokio::task::Id {
        self.0.id()
    }

    /// Whether the task has ended.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

// === impl Tasks ===

impl Tasks {
    /// Starts a task that ends at the latest when this is dropped.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let task = AbortOnDrop::spawn(future);
        let mut tasks = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        tasks.retain(|task| !task.is_finished());
        tasks.push(task);
    }

    /// Ends all tasks now.
    pub fn abort_all(&self) {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clear();
    }
}
