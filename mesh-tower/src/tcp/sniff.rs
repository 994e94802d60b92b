//! What a connection begins with, for those that were not told where it goes: looked at, not taken.

use std::io;
use std::time::Duration;

use rustls::server::Acceptor;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Most of a connection's first bytes that are looked at: a ClientHello with a post-quantum key share
/// is 2 KiB, a request's head seldom more than 8.
const MOST: usize = 16 * 1024;
/// Who has not said a thing by then waits for the server to speak.
const SILENT: Duration = Duration::from_millis(300);
/// Who has begun has so long to come to the point.
const WHOLE: Duration = Duration::from_secs(5);
/// Between two looks at a beginning that is not whole. It comes in one piece, nearly always.
const AGAIN: Duration = Duration::from_millis(2);

/// What a connection begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Opening {
    /// A request of HTTP/1, with its `Host` if it has exactly one.
    Http(Option<String>),
    /// A TLS ClientHello, with the server's name (SNI) if it has one.
    Tls(Option<String>),
    /// Something else, or nothing yet.
    Other,
}

/// Looks at what a connection begins with and leaves it there. Bounded in bytes and in time.
///
/// # Errors
///
/// When the connection is broken.
pub async fn sniff(stream: &TcpStream) -> io::Result<Opening> {
    let mut bytes = vec![0; 2 * 1024];
    let began = Instant::now();
    let Ok(first) = tokio::time::timeout(SILENT, stream.peek(&mut bytes)).await else {
        return Ok(Opening::Other);
    };
    let mut seen = first?;
    loop {
        if seen == 0 {
            return Ok(Opening::Other);
        }
        if let Some(opening) = Opening::of(&bytes[..seen]) {
            return Ok(opening);
        }
        if seen == bytes.len() && seen < MOST {
            bytes.resize(MOST, 0);
        } else if seen == MOST || began.elapsed() > WHOLE {
            return Ok(Opening::Other);
        } else {
            // What was looked at is there still, so that nobody wakes us.
            tokio::time::sleep(AGAIN).await;
        }
        let more = stream.peek(&mut bytes).await?;
        if more == 0 {
            return Ok(Opening::Other);
        }
        seen = more;
    }
}

// === impl Opening ===

impl Opening {
    /// What can be said of a connection's first bytes; `None` if it takes more of them. What was said stays
    /// true whatever follows.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes.first()? {
            // A TLS record that holds a handshake (RFC 8446 5.1).
            0x16 => hello(bytes),
            first if first.is_ascii_uppercase() => request(bytes),
            _ => Some(Self::Other),
        }
    }
}

fn hello(mut bytes: &[u8]) -> Option<Opening> {
    let mut acceptor = Acceptor::default();
    // It takes some thousand bytes at a time.
    while !bytes.is_empty() {
        if acceptor.read_tls(&mut bytes).is_err() {
            return Some(Opening::Other);
        }
        match acceptor.accept() {
            Ok(Some(hello)) => {
                let name = hello.client_hello().server_name().map(str::to_owned);
                return Some(Opening::Tls(name));
            }
            Ok(None) => {}
            Err(_) => return Some(Opening::Other),
        }
    }
    None
}

fn request(bytes: &[u8]) -> Option<Opening> {
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {
            let mut hosts = request
                .headers
                .iter()
                .filter(|field| field.name.eq_ignore_ascii_case("host"));
            let host = match (hosts.next(), hosts.next()) {
                (Some(host), None) => std::str::from_utf8(host.value).ok(),
                _ => None,
            };
            Some(Opening::Http(host.map(|host| host.trim().to_owned())))
        }
        Ok(httparse::Status::Partial) => None,
        // HTTP/2's preface too: whom it is for is said later.
        Err(_) => Some(Opening::Other),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// What is found of a client that sends these pieces.
    async fn found(pieces: Vec<Vec<u8>>) -> Opening {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let client = tokio::spawn(async move {
            let mut io = TcpStream::connect(addr).await.unwrap();
            io.set_nodelay(true).unwrap();
            for piece in pieces {
                io.write_all(&piece).await.unwrap();
                // The pace: each piece a segment of its own. Joined or apart, what is found is the same.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            io
        });
        let (io, _) = listener.accept().await.unwrap();
        let opening = sniff(&io).await.unwrap();
        drop(client.await.unwrap());
        opening
    }

    fn hello(name: &'static str) -> Vec<u8> {
        hello_with(name, Vec::new())
    }

    fn hello_with(name: &'static str, protocols: Vec<Vec<u8>>) -> Vec<u8> {
        let mut config = rustls::ClientConfig::builder_with_provider(crate::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = protocols;
        let name = rustls_pki_types::ServerName::try_from(name).unwrap();
        let mut client = rustls::ClientConnection::new(config.into(), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    #[tokio::test]
    async fn a_hello_has_a_name_also_in_pieces() {
        let whole = hello("db.shop.example");
        let expected = Opening::Tls(Some("db.shop.example".to_owned()));
        assert_eq!(found(vec![whole.clone()]).await, expected);
        let pieces = whole.chunks(300).map(<[u8]>::to_vec).collect();
        assert_eq!(found(pieces).await, expected);
        // Tickets and lists may make it long.
        let long = hello_with("db.shop.example", vec![vec![b'p'; 200]; 50]);
        assert!(long.len() > 10_000, "{}", long.len());
        assert_eq!(found(vec![long]).await, expected);
        // An address is no name (RFC 6066 3).
        assert_eq!(found(vec![hello("192.0.2.1")]).await, Opening::Tls(None));
    }

    #[tokio::test]
    async fn a_request_has_a_host() {
        let text = b"GET / HTTP/1.1\r\nhost: reviews.shop\r\n\r\n".to_vec();
        let expected = Opening::Http(Some("reviews.shop".to_owned()));
        assert_eq!(found(vec![text.clone()]).await, expected);
        let pieces = text.chunks(7).map(<[u8]>::to_vec).collect();
        assert_eq!(found(pieces).await, expected);
        let two = b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n".to_vec();
        assert_eq!(found(vec![two]).await, Opening::Http(None));
    }

    #[tokio::test]
    async fn what_is_neither_or_silent_is_other() {
        for bytes in [
            &b"SSH-2.0-x\r\n"[..],
            b"\x00\x01",
            b"\x16\x03\x01\x00\x02zz",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"",
        ] {
            assert_eq!(
                found(vec![bytes.to_vec()]).await,
                Opening::Other,
                "{bytes:?}"
            );
        }
        // Without an end.
        let long = [b"GET /".to_vec(), vec![b'a'; 20_000]].concat();
        assert_eq!(found(vec![long]).await, Opening::Other);
    }
}
