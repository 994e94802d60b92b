//! What goes over the Unix socket: a list of names as JSON with its length before it, the
//! descriptors in their order; then `ready` with a list of the names that are used, and `bye`.

use std::collections::BTreeSet;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde_json::{Value, json};

/// Descriptors in one message; the kernel takes 253.
const AT_ONCE: usize = 64;
/// Listeners that a shim can have; more is no shim.
const MOST: usize = 4096;
const MOST_BYTES: u32 = 1 << 20;

const VERSION: u64 = 2;
const READY: &[u8; 6] = b"ready\n";
pub(super) const BYE: &[u8; 4] = b"bye\n";

/// One listener, by what it is for.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) worker: usize,
    pub(crate) addr: SocketAddr,
    pub(crate) listener: TcpListener,
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

fn write_json(stream: &mut UnixStream, value: &Value) -> io::Result<()> {
    let text = value.to_string();
    let length = u32::try_from(text.len()).map_err(|_| invalid("too many listeners"))?;
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(text.as_bytes())
}

fn read_json(stream: &mut UnixStream) -> io::Result<Value> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > MOST_BYTES {
        return Err(invalid("a list that is too long"));
    }
    let mut text = vec![0; length as usize];
    stream.read_exact(&mut text)?;
    serde_json::from_slice(&text).map_err(|_| invalid("a list that is no JSON"))
}

/// The newcomer is ready, and goes on with the listeners of these names.
pub(super) fn send_ready(stream: &mut UnixStream, used: &BTreeSet<String>) -> io::Result<()> {
    stream.write_all(READY)?;
    write_json(stream, &json!(used))
}

/// Waits for that.
pub(super) fn receive_ready(stream: &mut UnixStream) -> io::Result<BTreeSet<String>> {
    let mut word = [0; READY.len()];
    stream.read_exact(&mut word)?;
    if word != *READY {
        return Err(invalid("not `ready`"));
    }
    let used = read_json(stream)?;
    let names = used.as_array().map(Vec::as_slice).unwrap_or_default();
    let names = names.iter().filter_map(|name| name.as_str());
    Ok(names.map(str::to_owned).collect())
}

pub(super) fn send(stream: &mut UnixStream, listeners: &[Named]) -> io::Result<()> {
    let list: Vec<Value> = listeners
        .iter()
        .map(|one| json!({ "name": one.name, "worker": one.worker, "addr": one.addr.to_string() }))
        .collect();
    write_json(stream, &json!({ "version": VERSION, "listeners": list }))?;
    for some in listeners.chunks(AT_ONCE) {
        let fds: Vec<BorrowedFd<'_>> = some.iter().map(|one| one.listener.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(AT_ONCE))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(invalid("the descriptors do not fit"));
        }
        let count = [u8::try_from(fds.len()).unwrap_or(u8::MAX)];
        let flags = SendFlags::NOSIGNAL;
        if sendmsg(&*stream, &[IoSlice::new(&count)], &mut control, flags)? != 1 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

pub(super) fn receive(stream: &mut UnixStream) -> io::Result<Vec<Named>> {
    let list = read_json(stream)?;
    if list["version"] != VERSION {
        return Err(invalid("a version of the hand-over that is not known here"));
    }
    let list = list["listeners"].as_array().cloned().unwrap_or_default();
    if list.len() > MOST {
        return Err(invalid("too many listeners"));
    }
    let mut fds: Vec<OwnedFd> = Vec::new();
    while fds.len() < list.len() {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(AT_ONCE))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut count = [0];
        let got = recvmsg(
            &*stream,
            &mut [IoSliceMut::new(&mut count)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        if got.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let before = fds.len();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(some) = message {
                fds.extend(some);
            }
        }
        if fds.len() - before != usize::from(count[0]) {
            return Err(invalid("descriptors are missing: the limit on open files?"));
        }
    }
    let named = |(one, fd): (&Value, OwnedFd)| {
        Some(Named {
            name: one["name"].as_str()?.to_owned(),
            worker: usize::try_from(one["worker"].as_u64()?).ok()?,
            addr: one["addr"].as_str()?.parse().ok()?,
            listener: fd.into(),
        })
    };
    let all: Option<Vec<_>> = list.iter().zip(fds).map(named).collect();
    all.ok_or_else(|| invalid("an entry that cannot be read"))
}
