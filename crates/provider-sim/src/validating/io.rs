//! Sockets under the HTTP/2 library: one that counts, and one that lets [`Wire`] have its say.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::thread::House;
use super::wire::Wire;

/// What is read from TLS at once.
const READ_BYTES: usize = 16 << 10;
/// Bytes that wait for the socket before the library has to wait, too.
const OUT_BYTES_MAX: usize = 256 << 10;

/// A socket whose bytes are counted.
pub(super) struct Counted {
    socket: TcpStream,
    house: Rc<House>,
}

impl Counted {
    pub(super) fn new(socket: TcpStream, house: Rc<House>) -> Self {
        Self { socket, house }
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
        let mut desk = self.house.desk();
        let counts = &mut desk.ledger.counts;
        counts.reads += 1;
        counts.bytes_read += (buffer.filled().len() - before) as u64;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.socket).poll_write(cx, bytes))?;
        let mut desk = self.house.desk();
        let counts = &mut desk.ledger.counts;
        counts.writes += 1;
        counts.bytes_written += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// How long a client may take to close what we have ended.
pub(super) type Patience = Pin<Box<dyn Future<Output = ()>>>;

/// A stream with a [`Wire`] in it.
pub(super) struct Spliced<S> {
    stream: S,
    wire: Rc<RefCell<Wire>>,
    out: Vec<u8>,
    arrived: Vec<u8>,
    /// What of `arrived` the library has read.
    taken: usize,
    /// Makes the patience once the stream is shut down.
    patience: Box<dyn FnMut() -> Patience>,
    lingering: Option<Patience>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Spliced<S> {
    pub(super) fn new(stream: S, wire: Rc<RefCell<Wire>>, patience: Box<dyn FnMut() -> Patience>) -> Self {
        Self { stream, wire, out: Vec::new(), arrived: Vec::new(), taken: 0, patience, lingering: None }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.out))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Spliced<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // What the wire keeps to itself is no end of the stream: read until something is left for the library.
        while this.taken == this.arrived.len() {
            let mut room = [0; READ_BYTES];
            let mut read = ReadBuf::new(&mut room);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            (this.taken, this.arrived) = (0, std::mem::take(&mut this.arrived));
            this.arrived.clear();
            this.wire.borrow_mut().receive(read.filled(), &mut this.arrived);
        }
        let ready = &this.arrived[this.taken..];
        let length = ready.len().min(buffer.remaining());
        buffer.put_slice(&ready[..length]);
        this.taken += length;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Spliced<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.out.len() >= OUT_BYTES_MAX {
            ready!(this.poll_drain(cx))?;
        }
        this.wire.borrow_mut().send(bytes, &mut this.out);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.wire.borrow_mut().interject(&mut this.out);
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    /// Ends the stream and waits for the client to do so: closing first could reset the connection, and take from the
    /// client answers that it has not read.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.lingering.is_none() {
            ready!(this.poll_drain(cx))?;
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            this.lingering = Some((this.patience)());
        }
        let mut room = [0; READ_BYTES];
        loop {
            let mut read = ReadBuf::new(&mut room);
            match Pin::new(&mut this.stream).poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => break,
            }
        }
        this.lingering.as_mut().map_or(Poll::Ready(()), |patience| patience.as_mut().poll(cx)).map(Ok)
    }
}
