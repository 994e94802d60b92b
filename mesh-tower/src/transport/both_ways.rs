//! Bytes from one stream to another, both ways, without a buffer for each.
//!
//! A connection that waits needs no buffer, and one that moves bytes needs one for as long as it takes to
//! write what was read. So there is one for each thread; a connection keeps only what its reader would not
//! take at once, at most as much as one buffer for each way. The end of one half is passed on, and the other
//! half goes on.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Two TLS records: large enough that a stream in bulk needs few calls, small enough to be kept for many
/// readers that stall.
const BUFFER: usize = 32 * 1024;
/// Reads of one way before the other connections of the thread have their turn.
const TURN: usize = 16;

thread_local! {
    /// Taken while in use, so that a stream that is a copier itself makes one of its own.
    static SPARE: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// One way.
#[derive(Default)]
struct Way {
    /// Read and not written yet, from `at` on.
    held: Vec<u8>,
    at: usize,
    ended: bool,
    unflushed: bool,
    done: bool,
}

/// Copies until both halves have ended.
///
/// # Errors
///
/// The first of a read or write, after which neither stream is of use.
pub async fn both_ways<A, B>(a: &mut A, b: &mut B) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin + ?Sized,
    B: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    let (mut there, mut back) = (Way::default(), Way::default());
    poll_fn(|cx| {
        let sent = there.poll(cx, a, b)?;
        let received = back.poll(cx, b, a)?;
        match (sent, received) {
            (Poll::Ready(()), Poll::Ready(())) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    })
    .await
}

fn with_buffer<T>(run: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut buffer = SPARE
        .take()
        .unwrap_or_else(|| vec![0; BUFFER].into_boxed_slice());
    let result = run(&mut buffer);
    SPARE.set(Some(buffer));
    result
}

// === impl Way ===

impl Way {
    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
    ) -> io::Result<Poll<()>>
    where
        R: AsyncRead + Unpin + ?Sized,
        W: AsyncWrite + Unpin + ?Sized,
    {
        if self.done {
            return Ok(Poll::Ready(()));
        }
        let moved = self.poll_move(cx, reader, writer)?;
        self.done = moved.is_ready();
        Ok(moved)
    }

    /// Ready when the end was passed on.
    fn poll_move<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin + ?Sized,
        W: AsyncWrite + Unpin + ?Sized,
    {
        for _ in 0..TURN {
            ready!(self.poll_held(cx, writer))?;
            if self.ended {
                return Pin::new(writer).poll_shutdown(cx);
            }
            if with_buffer(|buffer| self.poll_pass(cx, buffer, reader, writer))?.is_pending() {
                if self.unflushed {
                    ready!(Pin::new(writer).poll_flush(cx))?;
                    self.unflushed = false;
                }
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes what was kept.
    fn poll_held<W: AsyncWrite + Unpin + ?Sized>(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut W,
    ) -> Poll<io::Result<()>> {
        while let Some(rest) = self.held.get(self.at..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut *writer).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.at += n,
            }
        }
        if self.at > 0 {
            (self.held, self.at) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once and writes that, or as much of it as is taken; pending if there is nothing to read.
    fn poll_pass<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        reader: &mut R,
        writer: &mut W,
    ) -> io::Result<Poll<()>>
    where
        R: AsyncRead + Unpin + ?Sized,
        W: AsyncWrite + Unpin + ?Sized,
    {
        let mut read = ReadBuf::new(buffer);
        if Pin::new(reader).poll_read(cx, &mut read)?.is_pending() {
            return Ok(Poll::Pending);
        }
        let bytes = read.filled();
        if bytes.is_empty() {
            self.ended = true;
            return Ok(Poll::Ready(()));
        }
        self.unflushed = true;
        let taken = match Pin::new(writer).poll_write(cx, bytes) {
            Poll::Pending => 0,
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(result) => result?,
        };
        self.held.extend_from_slice(&bytes[taken..]);
        Ok(Poll::Ready(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// A small pipe on both sides of a copier.
    fn piped(room: usize) -> (tokio::io::DuplexStream, tokio::io::DuplexStream) {
        let (near, mut a) = duplex(room);
        let (far, mut b) = duplex(room);
        tokio::spawn(async move { both_ways(&mut a, &mut b).await });
        (near, far)
    }

    fn bytes(count: usize) -> Vec<u8> {
        (0..count).map(|n| (n % 251) as u8).collect()
    }

    #[tokio::test]
    async fn every_byte_arrives_in_order_through_readers_of_any_room() {
        for room in [1, 7, 4_096, 100_000] {
            let count = if room == 1 { 5_000 } else { 300_000 };
            let (near, far) = piped(room);
            let (mut near_read, mut near_write) = tokio::io::split(near);
            let (mut far_read, mut far_write) = tokio::io::split(far);
            let sent = bytes(count);
            let (there, back) = (sent.clone(), sent.clone());
            tokio::spawn(async move {
                near_write.write_all(&there).await.unwrap();
                near_write.shutdown().await.unwrap();
            });
            tokio::spawn(async move {
                far_write.write_all(&back).await.unwrap();
                far_write.shutdown().await.unwrap();
            });
            let (mut received, mut answered) = (Vec::new(), Vec::new());
            far_read.read_to_end(&mut received).await.unwrap();
            near_read.read_to_end(&mut answered).await.unwrap();
            assert!(received == sent && answered == sent, "room {room}");
        }
    }

    #[tokio::test]
    async fn the_end_of_one_half_leaves_the_other_open() {
        let (mut near, mut far) = piped(64);
        near.write_all(b"asked").await.unwrap();
        near.shutdown().await.unwrap();
        let mut asked = Vec::new();
        far.read_to_end(&mut asked).await.unwrap();
        far.write_all(b"answered later").await.unwrap();
        drop(far);
        let mut answer = String::new();
        near.read_to_string(&mut answer).await.unwrap();
        assert_eq!(
            (asked.as_slice(), answer.as_str()),
            (&b"asked"[..], "answered later")
        );
    }

    #[tokio::test]
    async fn a_reader_that_stalls_holds_its_sender_up() {
        let (mut near, _far) = piped(1_000);
        let all = bytes(1 << 20);
        let mut written = 0;
        // Writes until nothing has moved for a second of paused time, that is: until nothing can.
        tokio::time::pause();
        while let Ok(n) = tokio::time::timeout(
            std::time::Duration::from_secs(1),
            near.write(&all[written..]),
        )
        .await
        {
            written += n.unwrap();
        }
        assert!(
            written <= BUFFER + 3_000,
            "{written} bytes were taken for a reader that takes none"
        );
    }

    #[tokio::test]
    async fn a_broken_stream_ends_both_halves() {
        let (near, mut a) = duplex(64);
        let (mut far, mut b) = duplex(64);
        let copying = tokio::spawn(async move { both_ways(&mut a, &mut b).await });
        drop(near);
        far.write_all(b"to nobody").await.unwrap();
        let error = copying.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
