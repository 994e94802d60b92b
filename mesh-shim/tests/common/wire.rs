//! HTTP/1 byte by byte: what is sent and what is seen are what is on the wire.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::PATIENCE;

/// A connection, read with care: nothing beyond what is asked for is taken.
pub(crate) struct Wire {
    pub(crate) io: TcpStream,
    ahead: Vec<u8>,
}

/// A request's or an answer's head.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) line: String,
    /// In the order of the wire, names as they came.
    pub(crate) fields: Vec<(String, String)>,
}

/// A whole message.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// It ended as its framing says.
    pub(crate) whole: bool,
}

/// Who sends the message that is read: an answer without a length lasts until the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Answer,
    /// An answer that has no body whatever its fields say: to HEAD.
    HeadOnly,
}

impl Head {
    fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let line = lines.next().unwrap_or("").to_owned();
        let field = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            (name.to_owned(), value.trim().to_owned())
        };
        Self {
            line,
            fields: lines.map(field).collect(),
        }
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let same = |field: &&(String, String)| field.0.eq_ignore_ascii_case(name);
        self.fields
            .iter()
            .filter(same)
            .map(|field| &*field.1)
            .collect()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// Of an answer; 0 if the line has none.
    pub(crate) fn status(&self) -> u16 {
        let status = self.line.split(' ').nth(1).unwrap_or("");
        status.parse().unwrap_or(0)
    }
}

impl Message {
    /// One whose end did not come.
    pub(crate) fn stuck(head: Head) -> Self {
        Self {
            head,
            body: Vec::new(),
            trailers: Vec::new(),
            whole: false,
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Wire {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        Self::over(TcpStream::connect(addr).await.unwrap())
    }

    pub(crate) fn over(io: TcpStream) -> Self {
        let _ = io.set_nodelay(true);
        Self {
            io,
            ahead: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.io.write_all(bytes.as_ref()).await.unwrap();
    }

    /// More bytes, in a moment or not at all: `false` at the end.
    pub(crate) async fn more(&mut self) -> std::io::Result<bool> {
        let mut bytes = [0; 16 * 1024];
        let read = tokio::time::timeout(PATIENCE, self.io.read(&mut bytes)).await;
        let n = read.expect("bytes or an end")?;
        self.ahead.extend_from_slice(&bytes[..n]);
        Ok(n > 0)
    }

    /// Whether nothing comes for a while. For what must *not* happen; nothing depends on it passing.
    pub(crate) async fn is_quiet_for(&mut self, time: Duration) -> bool {
        if !self.ahead.is_empty() {
            return false;
        }
        tokio::time::timeout(time, self.io.readable())
            .await
            .is_err()
    }

    /// `None` if it ends before.
    pub(crate) async fn try_exact(&mut self, n: usize) -> Option<Vec<u8>> {
        while self.ahead.len() < n {
            if !self.more().await.unwrap_or(false) {
                return None;
            }
        }
        Some(self.ahead.drain(..n).collect())
    }

    pub(crate) async fn exact(&mut self, n: usize) -> Vec<u8> {
        while self.ahead.len() < n {
            assert!(self.more().await.unwrap(), "an end after {:?}", self.text());
        }
        self.ahead.drain(..n).collect()
    }

    /// What has come already, and was not asked for yet.
    pub(crate) fn take_ahead(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.ahead)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.ahead).into_owned()
    }

    /// Up to and with a line's end; `None` at the connection's end.
    pub(crate) async fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.ahead.windows(2).position(|two| two == b"\r\n") {
                return Some(self.ahead.drain(..at + 2).collect());
            }
            if !self.more().await.unwrap_or(false) {
                return None;
            }
        }
    }

    /// `None` at the connection's end.
    pub(crate) async fn try_head(&mut self) -> Option<Head> {
        loop {
            if let Some(at) = self.ahead.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.ahead.drain(..at + 4).collect();
                return Some(Head::parse(&head));
            }
            if !self.more().await.unwrap_or(false) {
                return None;
            }
        }
    }

    pub(crate) async fn head(&mut self) -> Head {
        match self.try_head().await {
            Some(head) => head,
            None => panic!("an end instead of a head, after {:?}", self.text()),
        }
    }

    /// One chunk's data, empty for the last; `None` if it breaks off.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.line().await?;
        let size = String::from_utf8_lossy(&line);
        let size = size.trim_end().split(';').next().unwrap_or("").trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(Vec::new());
        }
        while self.ahead.len() < size + 2 {
            if !self.more().await.unwrap_or(false) {
                return None;
            }
        }
        let data = self.ahead.drain(..size).collect();
        self.ahead.drain(..2);
        Some(data)
    }

    /// What follows the last chunk.
    pub(crate) async fn trailers(&mut self) -> Option<Vec<(String, String)>> {
        let mut text = b"trailers\r\n".to_vec();
        loop {
            let line = self.line().await?;
            if line == b"\r\n" {
                return Some(Head::parse(&text).fields);
            }
            text.extend_from_slice(&line);
        }
    }

    /// The rest of a message.
    pub(crate) async fn rest(&mut self, head: Head, kind: Kind) -> Message {
        let mut message = Message {
            body: Vec::new(),
            trailers: Vec::new(),
            whole: true,
            head,
        };
        let status = match kind {
            Kind::Request => 0,
            _ => message.head.status(),
        };
        if kind == Kind::HeadOnly || matches!(status, 100..=199 | 204 | 304) {
            return message;
        }
        if message.head.get("transfer-encoding").is_some() {
            loop {
                match self.chunk().await {
                    None => {
                        message.whole = false;
                        return message;
                    }
                    Some(data) if data.is_empty() => break,
                    Some(data) => message.body.extend(data),
                }
            }
            match self.trailers().await {
                Some(trailers) => message.trailers = trailers,
                None => message.whole = false,
            }
            return message;
        }
        let length = message.head.get("content-length").map(str::to_owned);
        match length.map(|length| length.parse::<usize>()) {
            Some(Ok(length)) => {
                while self.ahead.len() < length {
                    if !self.more().await.unwrap_or(false) {
                        message.whole = false;
                        break;
                    }
                }
                let n = length.min(self.ahead.len());
                message.body = self.ahead.drain(..n).collect();
            }
            None if kind == Kind::Answer => {
                let read = loop {
                    match self.more().await {
                        Ok(true) => {}
                        ended => break ended,
                    }
                };
                message.whole = read.is_ok();
                message.body = std::mem::take(&mut self.ahead);
            }
            None => {}
            Some(Err(_)) => message.whole = false,
        }
        message
    }

    /// A whole answer; `None` at the end of the connection.
    pub(crate) async fn try_answer(&mut self) -> Option<Message> {
        let head = self.try_head().await?;
        Some(self.rest(head, Kind::Answer).await)
    }

    pub(crate) async fn answer(&mut self) -> Message {
        let head = self.head().await;
        self.rest(head, Kind::Answer).await
    }

    pub(crate) async fn request(&mut self) -> Message {
        let head = self.head().await;
        self.rest(head, Kind::Request).await
    }

    /// All that still comes, and whether it ended without a reset.
    pub(crate) async fn until_end(&mut self) -> (Vec<u8>, bool) {
        let clean = loop {
            match self.more().await {
                Ok(true) => {}
                Ok(false) => break true,
                Err(_) => break false,
            }
        };
        (std::mem::take(&mut self.ahead), clean)
    }

    pub(crate) async fn shut(&mut self) {
        self.io.shutdown().await.unwrap();
    }
}
