//! HTTP/2 by hand.

use std::net::SocketAddr;
use std::time::Duration;

use crate::common::wire::Wire;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// One frame.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The connection, with this code.
    GoAway(u32),
    /// The stream, with this code.
    Reset(u32),
    /// The connection, without a word.
    Closed,
    /// An answer with this status.
    Status(u16),
    /// None of these in time.
    Nothing,
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header block without compression: literal fields, never indexed.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let text = |text: &str, bytes: &mut Vec<u8>| {
        let mut length = text.len();
        if length < 127 {
            bytes.push(u8::try_from(length).unwrap());
        } else {
            bytes.push(127);
            length -= 127;
            while length >= 128 {
                bytes.push(u8::try_from(length % 128 + 128).unwrap());
                length /= 128;
            }
            bytes.push(u8::try_from(length).unwrap());
        }
        bytes.extend(text.as_bytes());
    };
    for (name, value) in fields {
        bytes.push(0x10);
        text(name, &mut bytes);
        text(value, &mut bytes);
    }
    bytes
}

/// A request's fields.
pub(crate) const GET: &[(&str, &str)] = &[
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "app.shop"),
    (":path", "/case"),
];

pub(crate) fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(GET))
}

pub(crate) fn post(stream: u32) -> Vec<u8> {
    let mut fields = GET.to_vec();
    fields[0].1 = "POST";
    frame(HEADERS, END_HEADERS, stream, &block(&fields))
}

/// A client of HTTP/2.
pub(crate) struct Client {
    pub(crate) wire: Wire,
}

impl Client {
    /// Connected, with both sides' SETTINGS exchanged.
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let mut client = Self::raw(addr).await;
        client.wire.send(PREFACE).await;
        client.wire.send(frame(SETTINGS, 0, 0, &[])).await;
        loop {
            let frame = client.frame().await.expect("SETTINGS");
            if frame.kind == SETTINGS && frame.flags & 1 == 0 {
                break;
            }
        }
        client.wire.send(self::frame(SETTINGS, 1, 0, &[])).await;
        client
    }

    pub(crate) async fn raw(addr: SocketAddr) -> Self {
        Self {
            wire: Wire::connect(addr).await,
        }
    }

    /// `None` at the end.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        let head = self.wire.try_exact(9).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream,
            payload: self.wire.try_exact(length).await?,
        })
    }

    /// How `stream`, or the connection, ends.
    pub(crate) async fn end(&mut self, stream: u32) -> End {
        let limit = Duration::from_secs(5);
        let end = tokio::time::timeout(limit, async {
            loop {
                let Some(frame) = self.frame().await else {
                    return End::Closed;
                };
                let code = |at: usize| {
                    let bytes = frame.payload.get(at..at + 4)?;
                    Some(u32::from_be_bytes(bytes.try_into().ok()?))
                };
                match frame.kind {
                    GOAWAY => return End::GoAway(code(4).unwrap_or(u32::MAX)),
                    RST_STREAM if frame.stream == stream => {
                        return End::Reset(code(0).unwrap_or(u32::MAX));
                    }
                    HEADERS if frame.stream == stream => {
                        return End::Status(status(&frame.payload));
                    }
                    PING if frame.flags & 1 == 0 => {
                        let _ = tokio::io::AsyncWriteExt::write_all(
                            &mut self.wire.io,
                            &self::frame(PING, 1, 0, &frame.payload),
                        )
                        .await;
                    }
                    _ => {}
                }
            }
        });
        end.await.unwrap_or(End::Nothing)
    }
}

/// The status of an answer, as h2 writes it first: indexed, or literal behind `:status`.
fn status(block: &[u8]) -> u16 {
    match block.first() {
        Some(0x88) => 200,
        Some(0x89) => 204,
        Some(0x8b) => 304,
        Some(0x8c) => 400,
        Some(0x8d) => 404,
        Some(0x8e) => 500,
        Some(_) => literal(block).unwrap_or(0),
        None => 0,
    }
}

/// `:status` by its index with a literal value, Huffman coded or not: digits are codes of five bits
/// (0, 1, 2) or six.
fn literal(block: &[u8]) -> Option<u16> {
    let length = *block.get(1)?;
    let value = block.get(2..2 + usize::from(length & 0x7f))?;
    if length & 0x80 == 0 {
        return std::str::from_utf8(value).ok()?.parse().ok();
    }
    let mut bits = value
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1));
    let mut number = 0;
    for _ in 0..3 {
        let mut code = 0_u8;
        for _ in 0..5 {
            code = code << 1 | bits.next()?;
        }
        let digit = match code {
            0..=2 => code,
            _ => (code << 1 | bits.next()?) - 0x19 + 3,
        };
        number = number * 10 + u16::from(digit);
    }
    Some(number)
}
