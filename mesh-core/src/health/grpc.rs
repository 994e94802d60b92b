//! The messages of `grpc.health.v1`, which are small enough to be written by hand: a request holds
//! one string, a response one enum. <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>

use crate::clock;
use std::time::Duration;

/// Path of the call that streams the state.
pub const WATCH: &str = "/grpc.health.v1.Health/Watch";
/// Path of the call that asks once.
pub const CHECK: &str = "/grpc.health.v1.Health/Check";

/// Longest response that is looked at, in bytes; the field that matters takes two.
pub const LONGEST: usize = 1024;

/// A stream that broke is opened anew after 1 s, then 1.6 times as long each time, at most 120 s
/// (A17 refers to gRPC's connection back-off).
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

/// What a server says of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// `SERVING`.
    Yes,
    /// `NOT_SERVING`, `UNKNOWN`, `SERVICE_UNKNOWN`, or a state of a later time.
    No,
}

/// A request for the state of `service`, framed for gRPC.
pub fn request(service: &str) -> Vec<u8> {
    let mut message = Vec::with_capacity(service.len() + 8);
    if !service.is_empty() {
        // Field 1, length-delimited.
        message.push(0x0a);
        varint(service.len() as u64, &mut message);
        message.extend_from_slice(service.as_bytes());
    }
    let mut framed = vec![0];
    framed.extend_from_slice(
        &u32::try_from(message.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes(),
    );
    framed.append(&mut message);
    framed
}

/// A response that holds a state, framed for gRPC: `SERVING` is 1, `NOT_SERVING` 2.
pub const fn response(serving: Serving) -> [u8; 7] {
    let status = match serving {
        Serving::Yes => 1,
        Serving::No => 2,
    };
    // Not compressed, two bytes long; field 1, a varint.
    [0, 0, 0, 0, 2, 0x08, status]
}

/// Takes the first whole message off `buffer`: its state, or why it is none.
///
/// # Errors
/// A text for the log when the bytes are not such a message.
pub fn take(buffer: &mut Vec<u8>) -> Result<Option<Serving>, &'static str> {
    let Some((head, rest)) = buffer.split_first_chunk::<5>() else {
        return Ok(None);
    };
    if head[0] != 0 {
        return Err("the answer is compressed, which was not offered");
    }
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if length > LONGEST {
        return Err("the answer is too long for a health check");
    }
    let Some(message) = rest.get(..length) else {
        return Ok(None);
    };
    let serving = parse(message).ok_or("the answer is no health check response")?;
    buffer.drain(..5 + length);
    Ok(Some(serving))
}

/// How long to wait before a stream that broke is opened anew for the `failures`th time, without
/// jitter.
pub fn pause(failures: u32) -> Duration {
    let factor = 1.6_f64.powi(i32::try_from(failures.min(32)).unwrap_or(32));
    let millis = clock::duration(FIRST_PAUSE) as f64 * factor;
    Duration::from_millis(millis as u64).min(LONGEST_PAUSE)
}

/// Field 1 of the message; other fields are passed over. Absent is 0, `UNKNOWN`.
fn parse(mut bytes: &[u8]) -> Option<Serving> {
    let mut status = 0;
    while !bytes.is_empty() {
        let key = read_varint(&mut bytes)?;
        match (key >> 3, key & 7) {
            (1, 0) => status = read_varint(&mut bytes)?,
            (_, 0) => drop(read_varint(&mut bytes)?),
            (_, 1) => bytes = bytes.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(read_varint(&mut bytes)?).ok()?;
                bytes = bytes.get(length..)?;
            }
            (_, 5) => bytes = bytes.get(4..)?,
            _ => return None,
        }
    }
    Some(if status == 1 {
        Serving::Yes
    } else {
        Serving::No
    })
}

fn varint(mut value: u64, into: &mut Vec<u8>) {
    while value >= 0x80 {
        into.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
