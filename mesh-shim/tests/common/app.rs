//! Applications in the hands of a test: bytes in, bytes out.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::PATIENCE;
use super::wire::{Kind, Message, Wire};

/// One whose connections the test serves itself.
pub(crate) struct RawApp {
    listener: TcpListener,
    pub(crate) addr: SocketAddr,
}

impl RawApp {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        Self { listener, addr }
    }

    /// The next connection on which something is said: a look whether the port is open is none.
    pub(crate) async fn accept(&self) -> Wire {
        tokio::time::timeout(PATIENCE, async {
            loop {
                let (io, _) = self.listener.accept().await.unwrap();
                let mut byte = [0];
                if matches!(io.peek(&mut byte).await, Ok(1)) {
                    return Wire::over(io);
                }
            }
        })
        .await
        .expect("a connection")
    }
}

impl RawApp {
    /// Where the next request is said: on a connection that was used before, or on a new one.
    pub(crate) async fn next(&self, mut old: Wire) -> Wire {
        tokio::select! {
            more = old.more() => match more {
                Ok(true) => old,
                _ => self.accept().await,
            },
            new = self.accept() => new,
        }
    }
}

/// One that answers by a function of the request, and keeps all that it has seen.
pub(crate) struct Recorder {
    pub(crate) addr: SocketAddr,
    seen: Arc<Mutex<Vec<Message>>>,
    task: JoinHandle<()>,
}

/// What to answer: bytes, and whether the connection ends with them.
pub(crate) type Say = (Vec<u8>, bool);

pub(crate) fn ok() -> Say {
    (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(),
        false,
    )
}

impl Recorder {
    pub(crate) async fn new(say: impl Fn(&Message) -> Say + Send + Sync + 'static) -> Self {
        let app = RawApp::new().await;
        let addr = app.addr;
        let seen: Arc<Mutex<Vec<Message>>> = Arc::default();
        let (keep, say) = (seen.clone(), Arc::new(say));
        let task = tokio::spawn(async move {
            loop {
                let (io, _) = app.listener.accept().await.unwrap();
                let (seen, say) = (keep.clone(), say.clone());
                tokio::spawn(async move {
                    let mut wire = Wire::over(io);
                    while let Ok(Some(head)) =
                        tokio::time::timeout(Duration::from_secs(300), wire.try_head()).await
                    {
                        let rest = wire.rest(head.clone(), Kind::Request);
                        let read = tokio::time::timeout(Duration::from_secs(10), rest).await;
                        let message = read.unwrap_or_else(|_| Message::stuck(head));
                        let (bytes, end) = say(&message);
                        let whole = message.whole;
                        seen.lock().unwrap().push(message);
                        if wire.io.write_all(&bytes).await.is_err() || end || !whole {
                            return;
                        }
                    }
                });
            }
        });
        Self { addr, seen, task }
    }

    /// All requests since the last look, in the order of their ends.
    pub(crate) fn take(&self) -> Vec<Message> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One that does this with each connection.
pub(crate) async fn serving<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            tokio::spawn(serve(io));
        }
    });
    addr
}

/// Sends back what it gets, and ends when its client does.
pub(crate) async fn echo(io: impl AsyncRead + AsyncWrite) -> io::Result<()> {
    let (mut read, mut write) = tokio::io::split(io);
    tokio::io::copy(&mut read, &mut write).await?;
    write.shutdown().await
}

/// Keep-alive HTTP/1.1, as simple as it gets: answers each request after so much work.
pub(crate) async fn answering(work: Duration) -> SocketAddr {
    serving(move |io| async move {
        io.set_nodelay(true)?;
        let mut io = BufReader::new(io);
        let mut line = String::new();
        while io.read_line(&mut line).await? > 0 {
            let head_ends = line == "\r\n";
            line.clear();
            if head_ends {
                if !work.is_zero() {
                    tokio::time::sleep(work).await;
                }
                io.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                    .await?;
            }
        }
        Ok(())
    })
    .await
}
