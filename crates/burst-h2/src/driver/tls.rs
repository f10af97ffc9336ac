//! TLS by rustls, encrypting from and into buffers that the thread's connections share, and counting records: a request
//! counts as sent only when the record that holds its last byte is wholly with the kernel.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mio::{Registry, Token};
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError};

use super::plain::Socket;
use super::transport::{Buffers, RECORD_BYTES, Received, Transport};
use crate::ConnectionError;

const ALPN: &[u8] = b"h2";

/// A TLS client over TCP that insists on `h2`.
pub struct Tls {
    socket: Socket,
    tls: UnbufferedClientConnection,
    is_open: bool,
    is_peer_closed: bool,
    /// The beginning of a record whose rest has not arrived.
    partial: Vec<u8>,
    /// Encrypted bytes that the kernel has not taken.
    waiting: Vec<u8>,
    /// Records that end in `waiting`, in order.
    records: VecDeque<Record>,
    /// Plaintext bytes taken.
    taken: u64,
    written_through: u64,
}

struct Record {
    /// Offset in `waiting` behind its last byte.
    end: usize,
    /// Plaintext bytes taken up to and with it.
    plaintext_end: u64,
}

impl Tls {
    /// Begins to connect. The configuration must offer `h2` by ALPN and leave the size of records alone.
    ///
    /// # Errors
    /// When the configuration does not suit or the socket cannot be made.
    pub fn connect(
        address: SocketAddr,
        server_name: ServerName<'static>,
        config: Arc<rustls::ClientConfig>,
    ) -> Result<Tls, ConnectionError> {
        if !config.alpn_protocols.iter().any(|protocol| protocol == ALPN) {
            return Err(ConnectionError::Config("tls configuration does not offer h2"));
        }
        if config.max_fragment_size.is_some() {
            // Each call to encrypt must make one record, or the count of written requests would be wrong.
            return Err(ConnectionError::Config("tls configuration limits the size of records"));
        }
        let tls = UnbufferedClientConnection::new(config, server_name).map_err(ConnectionError::Tls)?;
        let mut transport = Tls {
            socket: Socket::connect(address)?,
            tls,
            is_open: false,
            is_peer_closed: false,
            partial: Vec::new(),
            waiting: Vec::new(),
            records: VecDeque::new(),
            taken: 0,
            written_through: 0,
        };
        transport.process(&mut [], &mut |_| Ok(()))?;
        Ok(transport)
    }

    /// Lets rustls work through received bytes; returns how many it has done with.
    fn process(
        &mut self,
        received: &mut [u8],
        sink: &mut impl FnMut(&[u8]) -> Result<(), ConnectionError>,
    ) -> Result<usize, ConnectionError> {
        let mut done = 0;
        loop {
            let status = self.tls.process_tls_records(&mut received[done..]);
            done += status.discard;
            match status.state.map_err(ConnectionError::Tls)? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(ConnectionError::Tls)?;
                        done += record.discard;
                        sink(record.payload)?;
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => encode(&mut data, &mut self.waiting)?,
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::WriteTraffic(_) => {
                    self.is_open = true;
                    return Ok(done);
                }
                ConnectionState::PeerClosed | ConnectionState::Closed => {
                    self.is_peer_closed = true;
                    return Ok(done);
                }
                _ => return Ok(done),
            }
        }
    }

    fn check_alpn(&self) -> Result<(), ConnectionError> {
        if self.tls.alpn_protocol() != Some(ALPN) {
            return Err(ConnectionError::Alpn);
        }
        Ok(())
    }

    /// Encrypts into `cipher` a record per 16 KiB and returns its length; notes where the records end.
    fn encrypt(&mut self, plaintext: &[u8], cipher: &mut [u8]) -> Result<usize, ConnectionError> {
        let mut length = 0;
        for piece in plaintext.chunks(RECORD_BYTES) {
            let ConnectionState::WriteTraffic(mut traffic) =
                self.tls.process_tls_records(&mut []).state.map_err(ConnectionError::Tls)?
            else {
                return Err(ConnectionError::PeerClosed);
            };
            length += traffic.encrypt(piece, &mut cipher[length..]).map_err(encrypt_error)?;
            self.taken += piece.len() as u64;
            self.records.push_back(Record { end: length, plaintext_end: self.taken });
        }
        Ok(length)
    }

    /// Of the bytes that the records count, the kernel took these.
    fn count_written(&mut self, bytes: usize) {
        while let Some(record) = self.records.front()
            && record.end <= bytes
        {
            self.written_through = record.plaintext_end;
            self.records.pop_front();
        }
        for record in &mut self.records {
            record.end -= bytes;
        }
    }
}

impl Transport for Tls {
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.socket.register(registry, token)
    }

    fn is_open(&self) -> bool {
        self.is_open
    }

    fn read(
        &mut self,
        buffers: &mut Buffers,
        mut sink: impl FnMut(&[u8]) -> Result<(), ConnectionError>,
    ) -> Result<Received, ConnectionError> {
        const KEPT_CAPACITY: usize = 1024;
        let left = self.partial.len();
        buffers.read[..left].copy_from_slice(&self.partial);
        let mut received = self.socket.read(&mut buffers.read[left..])?;
        if received.bytes > 0 {
            let filled = left + received.bytes;
            let (was_open, was_blocked) = (self.is_open, self.is_blocked());
            let done = self.process(&mut buffers.read[..filled], &mut sink)?;
            self.partial.clear();
            if self.partial.capacity() > KEPT_CAPACITY && filled - done < KEPT_CAPACITY {
                self.partial = Vec::new();
            }
            self.partial.extend_from_slice(&buffers.read[done..filled]);
            if self.is_open && !was_open {
                self.check_alpn()?;
            }
            if !was_blocked {
                self.flush()?;
            }
        }
        received.is_closed |= self.is_peer_closed;
        Ok(received)
    }

    fn write(&mut self, plaintext: &[u8], buffers: &mut Buffers) -> Result<usize, ConnectionError> {
        if self.is_blocked() || !self.is_open {
            return Ok(0);
        }
        let fitting = (buffers.cipher.len() / (RECORD_BYTES + 256)) * RECORD_BYTES;
        let mut taken = 0;
        for piece in plaintext.chunks(fitting) {
            let length = self.encrypt(piece, &mut buffers.cipher)?;
            taken += piece.len();
            let written = self.socket.write(&buffers.cipher[..length])?;
            self.count_written(written);
            if written < length {
                self.waiting.extend_from_slice(&buffers.cipher[written..length]);
                break;
            }
        }
        Ok(taken)
    }

    fn flush(&mut self) -> Result<(), ConnectionError> {
        if self.socket.finish_connecting()? && !self.waiting.is_empty() {
            let written = self.socket.write(&self.waiting)?;
            self.count_written(written);
            self.waiting.drain(..written);
            if self.waiting.is_empty() && self.waiting.capacity() > RECORD_BYTES {
                self.waiting = Vec::new();
            }
        }
        Ok(())
    }

    fn is_blocked(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn written_through(&self) -> u64 {
        self.written_through
    }

    fn shutdown(&mut self, buffers: &mut Buffers) {
        if !self.is_blocked()
            && let Ok(ConnectionState::WriteTraffic(mut traffic)) =
                self.tls.process_tls_records(&mut []).state
            && let Ok(length) = traffic.queue_close_notify(&mut buffers.cipher)
        {
            // The peer may be gone already; there is nobody left to tell.
            let _ = self.socket.write(&buffers.cipher[..length]);
        }
        self.socket.shutdown();
    }
}

/// Appends a record of the handshake to what waits for the kernel.
fn encode<D>(
    data: &mut rustls::unbuffered::EncodeTlsData<'_, D>,
    waiting: &mut Vec<u8>,
) -> Result<(), ConnectionError> {
    let start = waiting.len();
    let mut room = 1024;
    loop {
        waiting.resize(start + room, 0);
        match data.encode(&mut waiting[start..]) {
            Ok(length) => {
                waiting.truncate(start + length);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(needed)) if needed.required_size > room => {
                room = needed.required_size;
            }
            Err(error) => {
                waiting.truncate(start);
                return Err(ConnectionError::Io(io::Error::other(error)));
            }
        }
    }
}

fn encrypt_error(error: EncryptError) -> ConnectionError {
    ConnectionError::Io(io::Error::other(error))
}
