use std::net::TcpListener;
use std::time::Duration;

use futures_util::future::join_all;
use mesh_tower::runtime::AbortOnDrop;

/// After an accept that failed (out of descriptors): the loop must not spin.
const PAUSE: Duration = Duration::from_millis(50);

/// Ends each connection to an application that is no member of the mesh: in the kernel's queue it would
/// wait for as long as its client does. Until the answer is dropped.
pub(super) fn refuse(listeners: Vec<TcpListener>) -> AbortOnDrop {
    AbortOnDrop::spawn(async move {
        let listeners = listeners.into_iter();
        let listeners = listeners.filter_map(|one| tokio::net::TcpListener::from_std(one).ok());
        let loops = listeners.map(async |listener| {
            loop {
                if listener.accept().await.is_err() {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        });
        join_all(loops).await;
    })
}
