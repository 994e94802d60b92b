use std::future::Future;

/// Futures above this many bytes move as a pointer.
const LARGE: usize = 512;

/// Starts hyper's tasks, one for each stream of an HTTP/2 connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spawner;

/// Starts a task on the current runtime. Until it first runs it is moved three times, which for a
/// stream with the whole inbound stack in it was 4,500 instructions a request.
pub(crate) fn spawn<F>(future: F)
where
    F: Future<Output: Send> + Send + 'static,
{
    if size_of::<F>() > LARGE {
        drop(tokio::spawn(Box::pin(future)));
    } else {
        drop(tokio::spawn(future));
    }
}

impl<F> hyper::rt::Executor<F> for Spawner
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        spawn(future);
    }
}
