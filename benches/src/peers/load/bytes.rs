//! Callers that write the same bytes each time, and read no more of the answer than its length.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::Caller;

const REQUEST: &[u8] = b"GET /reviews/7 HTTP/1.1\r\nhost: answers.bench\r\n\
    user-agent: peers\r\naccept: application/json\r\n\r\n";
const UPGRADE: &[u8] = b"GET /feed HTTP/1.1\r\nhost: answers.bench\r\nconnection: upgrade\r\n\
    upgrade: websocket\r\nsec-websocket-version: 13\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// A masked text frame of 32 bytes, as a browser sends it (RFC 6455 5.2).
const FRAME: [u8; 38] = {
    let mut frame = [b'x'; 38];
    frame[0] = 0x81;
    frame[1] = 0x80 | 32;
    frame
};
const LONGEST_HEAD: usize = 16 * 1024;
/// A call that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(10);

fn open(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// HTTP/1.1, kept alive.
pub(super) struct Http1 {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Http1 {
    pub(super) fn connect(addr: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            stream: open(addr)?,
            buffer: Vec::with_capacity(LONGEST_HEAD),
        })
    }
}

impl Caller for Http1 {
    fn call(&mut self) -> io::Result<()> {
        self.stream.write_all(REQUEST)?;
        let (head, body) = read_head(&mut self.stream, &mut self.buffer)?;
        let text = String::from_utf8_lossy(&self.buffer[..head]).to_ascii_lowercase();
        if !text.starts_with("http/1.1 200") {
            return Err(io::Error::other(format!("not a 200: {text}")));
        }
        let length = text
            .split_once("content-length: ")
            .and_then(|(_, rest)| rest.split("\r\n").next()?.trim().parse::<usize>().ok())
            .ok_or_else(|| io::Error::other(format!("no content-length: {text}")))?;
        let missing = length.saturating_sub(body);
        let mut rest = [0; 1024];
        self.stream.read_exact(&mut rest[..missing])
    }
}

/// Reads up to the end of an answer's head: its length, and how much of the body came with it.
fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<(usize, usize)> {
    buffer.clear();
    let mut chunk = [0; 4096];
    loop {
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.extend_from_slice(&chunk[..read]);
        let end = buffer.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            return Ok((end + 4, buffer.len() - end - 4));
        }
        if buffer.len() > LONGEST_HEAD {
            return Err(io::Error::other("an endless head"));
        }
    }
}

/// A frame and its echo; on a plain connection, or after an upgrade.
pub(super) struct Echo(TcpStream);

impl Echo {
    pub(super) fn connect(addr: SocketAddr) -> io::Result<Self> {
        Ok(Self(open(addr)?))
    }

    pub(super) fn upgrade(addr: SocketAddr) -> io::Result<Self> {
        let mut stream = open(addr)?;
        stream.write_all(UPGRADE)?;
        let mut head = Vec::new();
        read_head(&mut stream, &mut head)?;
        if !head.starts_with(b"HTTP/1.1 101") {
            let head = String::from_utf8_lossy(&head);
            return Err(io::Error::other(format!("not a 101: {head}")));
        }
        Ok(Self(stream))
    }
}

impl Caller for Echo {
    fn call(&mut self) -> io::Result<()> {
        self.0.write_all(&FRAME)?;
        let mut answer = [0; FRAME.len()];
        self.0.read_exact(&mut answer)?;
        if answer != FRAME {
            return Err(io::Error::other("the echo is not what was sent"));
        }
        Ok(())
    }
}
