use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;

/// Between two tries: short, because it is time in which nobody is served; a refused connection on
/// loopback costs some microseconds.
pub(crate) const OFTEN: Duration = Duration::from_millis(20);
/// The same for a port that may stay closed for days.
pub(crate) const SELDOM: Duration = Duration::from_millis(500);

/// Waits until `addr` accepts a connection; looks at it `every` so often.
pub(crate) async fn accepts(addr: SocketAddr, every: Duration) {
    while TcpStream::connect(addr).await.is_err() {
        tokio::time::sleep(every).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_open_port_accepts_and_a_closed_one_does_not() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let accepted = |within, addr| tokio::time::timeout(within, accepts(addr, OFTEN));
        assert!(accepted(Duration::from_secs(10), addr).await.is_ok());
        // Bound and not listening: nobody else gets the port meanwhile.
        let closed = tokio::net::TcpSocket::new_v4().unwrap();
        closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = closed.local_addr().unwrap();
        let within = Duration::from_millis(50);
        assert!(accepted(within, addr).await.is_err());
    }
}
