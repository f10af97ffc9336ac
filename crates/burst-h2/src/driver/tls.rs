//! TLS: the handshake by rustls, then records of our own where the suite is AES-GCM of TLS 1.3, in buffers that the
//! thread's connections share. Records are counted: a request counts as sent only when the record that holds its last
//! byte is wholly with the kernel.

mod records;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;

use mio::{Registry, Token};
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError};

use self::records::{OVERHEAD_BYTES, Records, TAIL_BYTES};
use super::plain::Socket;
use super::transport::{Buffers, RECORD_BYTES, Received, Transport};
use crate::ConnectionError;

const ALPN: &[u8] = b"h2";
/// Records of one call to the kernel. A connection gathers fewer, unless its writes are configured to be longer.
const WRITE_RECORDS_MAX: usize = 8;

/// A TLS client over TCP that insists on `h2`.
pub struct Tls {
    socket: Socket,
    session: Session,
    /// The configuration permits records of our own.
    is_extractable: bool,
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

/// Who makes the records.
enum Session {
    /// Rustls: in the handshake, and afterwards with TLS 1.2 and ChaCha20.
    Rustls(Box<UnbufferedClientConnection>),
    Own(Box<Records>),
    /// It could not be taken over; the connection fails with the error of that.
    Lost,
}

struct Record {
    /// Offset in `waiting` behind its last byte.
    end: usize,
    /// Plaintext bytes taken up to and with it.
    plaintext_end: u64,
}

impl Tls {
    /// Begins to connect. The configuration must offer `h2` by ALPN and leave the size of records alone; with
    /// `enable_secret_extraction` records cost about a third of the CPU.
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
        let is_extractable = config.enable_secret_extraction;
        let tls = UnbufferedClientConnection::new(config, server_name).map_err(ConnectionError::Tls)?;
        let mut transport = Tls {
            socket: Socket::connect(address)?,
            session: Session::Rustls(Box::new(tls)),
            is_extractable,
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

    /// Works through received bytes; returns how many are done with.
    fn process(
        &mut self,
        received: &mut [u8],
        sink: &mut impl FnMut(&[u8]) -> Result<(), ConnectionError>,
    ) -> Result<usize, ConnectionError> {
        let mut done = 0;
        if let Session::Rustls(_) = self.session {
            let was_open = self.is_open;
            done = self.process_by_rustls(received, sink)?;
            if self.is_open && !was_open {
                self.finish_handshake()?;
            }
        }
        if let Session::Own(records) = &mut self.session {
            let opened = records.open(&mut received[done..], &mut self.waiting, sink)?;
            self.is_peer_closed |= opened.is_closed;
            done += opened.used;
        }
        Ok(done)
    }

    fn process_by_rustls(
        &mut self,
        received: &mut [u8],
        sink: &mut impl FnMut(&[u8]) -> Result<(), ConnectionError>,
    ) -> Result<usize, ConnectionError> {
        let Session::Rustls(tls) = &mut self.session else { return Ok(0) };
        let mut done = 0;
        loop {
            let status = tls.process_tls_records(&mut received[done..]);
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

    /// The peer must have chosen `h2`. From here on records are ours, where they can be.
    fn finish_handshake(&mut self) -> Result<(), ConnectionError> {
        let Session::Rustls(tls) = &self.session else { return Ok(()) };
        if tls.alpn_protocol() != Some(ALPN) {
            return Err(ConnectionError::Alpn);
        }
        if self.is_extractable
            && records::suits(tls)
            && let Session::Rustls(tls) = std::mem::replace(&mut self.session, Session::Lost)
        {
            self.session = Session::Own(Box::new(Records::take_over(*tls)?));
        }
        Ok(())
    }

    /// Seals what `room` holds, all but its last byte, where it lies, and hands it to the kernel.
    fn write_in_place(&mut self, room: &mut [u8], margins: &mut Vec<u8>) -> Result<(), ConnectionError> {
        let Session::Own(records) = &mut self.session else { return Ok(()) };
        let lead = records.seal(room, margins)?;
        let (lead, margins) = margins.split_at(lead);
        let contents = room[..room.len() - 1].chunks(RECORD_BYTES);
        let mut pieces = [IoSlice::new(lead); 1 + 2 * WRITE_RECORDS_MAX];
        let count = 1 + 2 * contents.len();
        let (pairs, _) = pieces[1..count].as_chunks_mut();
        let mut length = lead.len();
        for ((pair, content), margin) in pairs.iter_mut().zip(contents).zip(margins.chunks(OVERHEAD_BYTES)) {
            *pair = [IoSlice::new(content), IoSlice::new(margin)];
            length += content.len() + margin.len();
            self.taken += content.len() as u64;
            // A record ends before the header of the next.
            let end = length - margin.len() + TAIL_BYTES;
            self.records.push_back(Record { end, plaintext_end: self.taken });
        }
        let written = self.socket.write_pieces(&pieces[..count])?;
        self.count_written(written);
        if written < length {
            self.wait(&pieces[..count], written);
        }
        Ok(())
    }

    /// The kernel took the first bytes of the pieces; the rest waits.
    #[cold]
    fn wait(&mut self, pieces: &[IoSlice<'_>], mut written: usize) {
        for piece in pieces {
            let gone = written.min(piece.len());
            self.waiting.extend_from_slice(&piece[gone..]);
            written -= gone;
        }
    }

    /// Has rustls encrypt it, and hands it to the kernel.
    fn write_by_rustls(&mut self, plaintext: &[u8], cipher: &mut [u8]) -> Result<(), ConnectionError> {
        let length = self.encrypt(plaintext, cipher)?;
        let written = self.socket.write(&cipher[..length])?;
        self.count_written(written);
        self.waiting.extend_from_slice(&cipher[written..length]);
        Ok(())
    }

    /// Encrypts into `cipher` a record per 16 KiB and returns its length; notes where the records end.
    fn encrypt(&mut self, plaintext: &[u8], cipher: &mut [u8]) -> Result<usize, ConnectionError> {
        let Session::Rustls(tls) = &mut self.session else { return Err(ConnectionError::PeerClosed) };
        let mut length = 0;
        for piece in plaintext.chunks(RECORD_BYTES) {
            let ConnectionState::WriteTraffic(mut traffic) =
                tls.process_tls_records(&mut []).state.map_err(ConnectionError::Tls)?
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
            let was_blocked = self.is_blocked();
            let done = self.process(&mut buffers.read[..filled], &mut sink)?;
            self.partial.clear();
            if self.partial.capacity() > KEPT_CAPACITY && filled - done < KEPT_CAPACITY {
                self.partial = Vec::new();
            }
            self.partial.extend_from_slice(&buffers.read[done..filled]);
            if !was_blocked {
                self.flush()?;
            }
        }
        received.is_closed |= self.is_peer_closed;
        Ok(received)
    }

    fn write(&mut self, plaintext: &mut [u8], buffers: &mut Buffers) -> Result<usize, ConnectionError> {
        if !self.is_open {
            return Ok(0);
        }
        let at_most = buffers.records.min(WRITE_RECORDS_MAX) * RECORD_BYTES;
        let end = plaintext.len() - 1;
        let mut taken = 0;
        while taken < end && !self.is_blocked() {
            let through = end.min(taken + at_most);
            if let Session::Own(_) = self.session {
                self.write_in_place(&mut plaintext[taken..=through], &mut buffers.margins)?;
            } else {
                self.write_by_rustls(&plaintext[taken..through], &mut buffers.cipher)?;
            }
            taken = through;
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
            && let Some(farewell) = self.session.close(buffers)
        {
            // The peer may be gone already; there is nobody left to tell.
            let _ = self.socket.write(farewell);
        }
        self.socket.shutdown();
    }
}

impl Session {
    /// The alert that ends the session in good order, if it is far enough for one.
    fn close<'a>(&mut self, buffers: &'a mut Buffers) -> Option<&'a [u8]> {
        match self {
            Session::Own(records) => {
                buffers.margins.clear();
                records.close(&mut buffers.margins);
                Some(&buffers.margins)
            }
            Session::Rustls(tls) => {
                let Ok(ConnectionState::WriteTraffic(mut traffic)) = tls.process_tls_records(&mut []).state
                else {
                    return None;
                };
                let length = traffic.queue_close_notify(&mut buffers.cipher).ok()?;
                Some(&buffers.cipher[..length])
            }
            Session::Lost => None,
        }
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
