use std::cell::Cell;

thread_local! {
    static WORKER: Cell<usize> = const { Cell::new(0) };
}

/// Which worker this thread is: connection pools are sharded by it, so that a shim with one
/// single-threaded runtime per worker never wakes another one. In an application always 0.
pub fn worker_index() -> usize {
    WORKER.with(Cell::get)
}

/// Says which worker this thread is. Called once, before the worker's runtime starts.
pub fn set_worker_index(index: usize) {
    WORKER.with(|worker| worker.set(index));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_worker_zero_until_told() {
        assert_eq!(worker_index(), 0);
        std::thread::spawn(|| {
            set_worker_index(3);
            assert_eq!(worker_index(), 3);
        })
        .join()
        .unwrap();
        assert_eq!(worker_index(), 0);
    }
}
