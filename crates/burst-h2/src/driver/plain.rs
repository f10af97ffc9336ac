//! Bare TCP: for tests, benchmarks and peers behind a local proxy.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::transport::{Buffers, Received, Transport};
use crate::ConnectionError;

/// A TCP stream without TLS.
pub struct Plain {
    socket: Socket,
    waiting: Vec<u8>,
    written: u64,
}

impl Plain {
    /// Begins to connect.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn connect(address: SocketAddr) -> Result<Plain, ConnectionError> {
        Ok(Plain { socket: Socket::connect(address)?, waiting: Vec::new(), written: 0 })
    }
}

impl Transport for Plain {
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.socket.register(registry, token)
    }

    fn is_open(&self) -> bool {
        self.socket.is_connected
    }

    fn read(
        &mut self,
        buffers: &mut Buffers,
        mut sink: impl FnMut(&[u8]) -> Result<(), ConnectionError>,
    ) -> Result<Received, ConnectionError> {
        let received = self.socket.read(&mut buffers.read)?;
        sink(&buffers.read[..received.bytes])?;
        Ok(received)
    }

    fn write(&mut self, plaintext: &mut [u8], _: &mut Buffers) -> Result<usize, ConnectionError> {
        let (_, plaintext) = plaintext.split_last().unwrap_or((&0, &[]));
        if self.is_blocked() {
            return Ok(0);
        }
        let written = self.socket.write(plaintext)?;
        self.written += written as u64;
        self.waiting.extend_from_slice(&plaintext[written..]);
        Ok(plaintext.len())
    }

    fn flush(&mut self) -> Result<(), ConnectionError> {
        if self.socket.finish_connecting()? && !self.waiting.is_empty() {
            let written = self.socket.write(&self.waiting)?;
            self.written += written as u64;
            self.waiting.drain(..written);
        }
        Ok(())
    }

    fn is_blocked(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn written_through(&self) -> u64 {
        self.written
    }

    fn shutdown(&mut self, _: &mut Buffers) {
        self.socket.shutdown();
    }
}

/// A non-blocking TCP socket that may still be connecting; both transports stand on it.
pub(super) struct Socket {
    stream: TcpStream,
    pub(super) is_connected: bool,
}

impl Socket {
    pub(super) fn connect(address: SocketAddr) -> Result<Socket, ConnectionError> {
        let stream = TcpStream::connect(address).map_err(ConnectionError::Io)?;
        Ok(Socket { stream, is_connected: false })
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.stream, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Whether it is connected by now.
    pub(super) fn finish_connecting(&mut self) -> Result<bool, ConnectionError> {
        if self.is_connected {
            return Ok(true);
        }
        if let Some(error) = self.stream.take_error().map_err(ConnectionError::Io)? {
            return Err(ConnectionError::Io(error));
        }
        match self.stream.peer_addr() {
            Ok(_) => {
                // Writes are gathered here; the kernel must not wait for more.
                self.stream.set_nodelay(true).map_err(ConnectionError::Io)?;
                self.is_connected = true;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(ConnectionError::Io(error)),
        }
    }

    /// Reads once. A short read means that nothing more is there; the end is then told by another event.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<Received, ConnectionError> {
        if !self.finish_connecting()? {
            return Ok(Received { bytes: 0, is_drained: true, is_closed: false });
        }
        loop {
            return match self.stream.read(buffer) {
                Ok(0) => Ok(Received { bytes: 0, is_drained: true, is_closed: true }),
                Ok(bytes) => Ok(Received { bytes, is_drained: bytes < buffer.len(), is_closed: false }),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    Ok(Received { bytes: 0, is_drained: true, is_closed: false })
                }
                Err(error) => Err(ConnectionError::Io(error)),
            };
        }
    }

    /// Hands over what the kernel takes at once. Less than all means that it is full until the poll says otherwise; an
    /// error means that it took nothing, so that no byte handed over goes uncounted.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<usize, ConnectionError> {
        self.write_pieces(&[IoSlice::new(bytes)])
    }

    /// The same for bytes in several places, of which one at least is not empty.
    pub(super) fn write_pieces(&mut self, pieces: &[IoSlice<'_>]) -> Result<usize, ConnectionError> {
        loop {
            return match self.stream.write_vectored(pieces) {
                Ok(0) => Err(ConnectionError::Io(io::ErrorKind::WriteZero.into())),
                Ok(written) => Ok(written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
                Err(error) => Err(ConnectionError::Io(error)),
            };
        }
    }

    pub(super) fn shutdown(&mut self) {
        // The peer may be gone already; there is nobody left to tell.
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}
