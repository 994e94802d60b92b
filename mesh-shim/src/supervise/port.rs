use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;

/// Between two tries: short, because it is time in which nobody is served; a refused connection on
/// loopback costs some microseconds.
const EVERY: Duration = Duration::from_millis(20);

/// Waits until `addr` accepts a connection, at most `within`. False when it did not.
pub(crate) async fn accepts(addr: SocketAddr, within: Duration) -> bool {
    let wait = async {
        while TcpStream::connect(addr).await.is_err() {
            tokio::time::sleep(EVERY).await;
        }
    };
    tokio::time::timeout(within, wait).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_open_port_accepts_and_a_closed_one_does_not() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        assert!(accepts(addr, Duration::from_secs(10)).await);
        // Bound and not listening: nobody else gets the port meanwhile.
        let closed = tokio::net::TcpSocket::new_v4().unwrap();
        closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = closed.local_addr().unwrap();
        assert!(!accepts(addr, Duration::from_millis(50)).await);
    }
}
