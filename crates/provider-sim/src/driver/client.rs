//! A socket, its TLS session and its HTTP/2 connection.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use mio::Registry;
use mio::net::TcpStream;
use rustls::ServerConfig;
use socket2::SockRef;

use crate::clock::Clock;
use crate::desk::{Desk, Due};
use crate::error::Error;
use crate::h2::{Connection, Farewell, Stop};
use crate::tls::{Failure, Opened, Session};

/// What is read from a socket at once: more than a TLS record, and small enough to stay in the processor's cache.
const READ_BYTES: usize = 128 << 10;
/// Buffers that grew beyond this are given back.
const KEPT_BYTES: usize = 64 << 10;

/// Buffers that the clients of a thread share.
pub(super) struct Scratch {
    read: Vec<u8>,
    sealed: Vec<u8>,
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self { read: vec![0; READ_BYTES], sealed: Vec::new() }
    }
}

/// How a client's connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Nothing of the sort.
    Open,
    /// Once everything is written, in good order.
    Flush,
    /// Once what was promised before is written, without a word.
    Abandon,
    /// All is written; the client is to close. Closing first could reset the connection, and take from the client
    /// answers that it has not read.
    Linger,
    /// The storm has hit it: once everything is written, this happens.
    Hit(Farewell),
    /// What the client writes is read and judged; nothing is said any more.
    Mute,
    /// Neither read nor written.
    Stalled,
    /// At once.
    Now,
}

/// What is to become of a client after its buffers were flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It stays.
    Stay,
    /// It is to close within a while.
    Linger,
    /// It is over.
    Close,
}

/// One connected client.
pub(super) struct Client {
    socket: TcpStream,
    session: Session,
    http: Connection,
    /// The front of a TLS record whose rest has not arrived.
    carry: Vec<u8>,
    /// Sealed bytes that the socket did not take.
    unsent: Vec<u8>,
    end: End,
    is_established: bool,
    /// The alert that ends the session was sealed.
    is_closing: bool,
    /// Nothing more will come from it.
    has_hung_up: bool,
    pub(super) is_dirty: bool,
}

impl Client {
    pub(super) fn new(
        mut socket: TcpStream,
        id: (u32, u32),
        tls: &Arc<ServerConfig>,
        desk: &Desk,
        registry: &Registry,
    ) -> Result<Self, Error> {
        socket.set_nodelay(true).map_err(Error::io("set TCP_NODELAY"))?;
        let session = Session::new(tls)?;
        super::watch(registry, &mut socket, id.0).map_err(Error::io("watch a connection"))?;
        let http = Connection::new(id, &desk.config, desk.judge.watches_credentials(), desk.time.now_us);
        Ok(Self {
            socket,
            session,
            http,
            carry: Vec::new(),
            unsent: Vec::new(),
            end: End::Open,
            is_established: false,
            is_closing: false,
            has_hung_up: false,
            is_dirty: false,
        })
    }

    /// Reads until the socket is empty.
    pub(super) fn read(&mut self, scratch: &mut Scratch, desk: &mut Desk, clock: &Clock) {
        while matches!(self.end, End::Open | End::Linger | End::Hit(_) | End::Mute) {
            let carried = self.carry.len();
            scratch.read[..carried].copy_from_slice(&self.carry);
            let space = scratch.read.len() - carried;
            let length = match self.socket.read(&mut scratch.read[carried..]) {
                Ok(0) => return self.end = End::Now,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.end = End::Now,
            };
            if self.end == End::Linger {
                continue;
            }
            desk.time.now_us = clock.now_us();
            desk.ledger.counts.reads += 1;
            desk.ledger.counts.bytes_read += length as u64;
            self.open(&mut scratch.read[..carried + length], desk);
            desk.ledger.arrived(desk.time.now_us);
            if self.end == End::Mute {
                self.http.out.clear();
                self.unsent.clear();
            }
            // The end of what a client wrote before it hung up is told only once.
            if length < space && !self.has_hung_up {
                return;
            }
        }
    }

    /// The client has closed its side, or the connection has failed.
    pub(super) fn hung_up(&mut self) {
        self.has_hung_up = true;
        // Whoever is read finds the end behind what was written.
        if self.end == End::Stalled {
            self.end = End::Now;
        }
    }

    fn open(&mut self, received: &mut [u8], desk: &mut Desk) {
        let Self { session, http, unsent, .. } = self;
        match session.open(received, unsent, |plaintext| http.receive(plaintext, desk)) {
            Ok(Opened { used, is_closed }) => {
                self.carry.clear();
                self.carry.extend_from_slice(&received[used..]);
                if is_closed || self.carry.len() >= READ_BYTES {
                    self.end = if self.end == End::Mute { End::Now } else { End::Flush };
                }
            }
            Err(Failure::Receiver(_)) if self.end == End::Mute => self.end = End::Now,
            Err(Failure::Receiver(stop)) => self.stop(stop, desk),
            Err(Failure::Tls) => {
                desk.ledger.counts.handshakes_failed += u64::from(!self.is_established);
                self.end = End::Abandon;
            }
        }
        self.obey_storm();
    }

    /// What was written before the storm hit goes out, and nothing after it.
    fn obey_storm(&mut self) {
        if let Some((farewell, length)) = self.http.farewell
            && matches!(self.end, End::Open | End::Hit(_))
        {
            self.http.out.truncate(length);
            self.end = End::Hit(farewell);
        }
    }

    fn stop(&mut self, stop: Stop, desk: &mut Desk) {
        match stop {
            Stop::Violation(code) => {
                tracing::debug!(?code, "a client broke the protocol");
                desk.ledger.counts.violations += 1;
                self.end = End::Flush;
            }
            Stop::Dropped => self.end = End::Abandon,
        }
    }

    /// Writes an answer that is due into the connection's buffer.
    #[inline]
    pub(super) fn answer(&mut self, due: &Due, desk: &mut Desk) {
        if self.end == End::Open
            && let Err(stop) = self.http.answer(due, desk)
        {
            self.stop(stop, desk);
        }
    }

    pub(super) fn keep_house(&mut self, desk: &mut Desk) {
        // What a flood has written and the client has not read is enough for now.
        if self.is_established && self.end == End::Open && self.unsent.len() < KEPT_BYTES {
            self.http.keep_house(desk);
        }
    }

    /// Whether there is something to write, or to end.
    pub(super) fn wants_flush(&self) -> bool {
        let is_quiet = matches!(self.end, End::Linger | End::Mute | End::Stalled);
        !is_quiet && (!self.http.out.is_empty() || !self.unsent.is_empty() || self.end != End::Open)
    }

    /// Seals and writes what there is.
    pub(super) fn flush(&mut self, scratch: &mut Scratch, desk: &mut Desk) -> Next {
        match self.end {
            End::Now => return Next::Close,
            End::Linger | End::Mute | End::Stalled => return Next::Stay,
            End::Open | End::Flush | End::Abandon | End::Hit(_) => {}
        }
        if self.end == End::Open && self.http.is_done() {
            self.end = End::Flush;
        }
        let sealed = if self.unsent.is_empty() { &mut scratch.sealed } else { &mut self.unsent };
        if !self.http.out.is_empty() && self.session.seal(&self.http.out, sealed) {
            self.is_established = true;
            self.http.out.clear();
            self.http.out.shrink_to(KEPT_BYTES);
            if let Some((_, length)) = &mut self.http.farewell {
                *length = 0;
            }
        }
        let says_goodbye = matches!(self.end, End::Flush | End::Hit(Farewell::CloseNotify));
        let fails = self.end == End::Hit(Farewell::Alert);
        if (says_goodbye || fails) && !self.is_closing {
            self.is_closing = true;
            if fails { self.session.fail(sealed) } else { self.session.close(sealed) }
        }
        match (self.write(scratch, desk), self.end) {
            (Err(_), _) => Next::Close,
            (Ok(()), End::Abandon) if self.unsent.is_empty() => Next::Close,
            (Ok(()), End::Flush) if self.unsent.is_empty() => {
                self.end = End::Linger;
                if self.socket.shutdown(Shutdown::Write).is_ok() { Next::Linger } else { Next::Close }
            }
            (Ok(()), End::Hit(farewell)) if self.unsent.is_empty() => self.bid(farewell),
            (Ok(()), _) => Next::Stay,
        }
    }

    /// Everything is written: what the storm brings happens.
    fn bid(&mut self, farewell: Farewell) -> Next {
        match farewell {
            Farewell::Alert => {
                self.end = End::Linger;
                if self.socket.shutdown(Shutdown::Write).is_ok() { Next::Linger } else { Next::Close }
            }
            Farewell::Fin => {
                self.end = End::Mute;
                if self.socket.shutdown(Shutdown::Write).is_ok() { Next::Stay } else { Next::Close }
            }
            Farewell::CloseNotify | Farewell::Silence => {
                self.end = End::Mute;
                Next::Stay
            }
            Farewell::Stall => {
                self.end = End::Stalled;
                if self.has_hung_up { Next::Close } else { Next::Stay }
            }
            Farewell::Reset => {
                // Closing a socket that does not linger resets the connection. Failing to say so closes it in order.
                let _ = SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
                Next::Close
            }
        }
    }

    fn write(&mut self, scratch: &mut Scratch, desk: &mut Desk) -> io::Result<()> {
        let is_fresh = self.unsent.is_empty();
        let bytes = if is_fresh { &scratch.sealed } else { &self.unsent };
        let mut sent = 0;
        let result = loop {
            if sent == bytes.len() {
                break Ok(());
            }
            match self.socket.write(&bytes[sent..]) {
                Ok(length) => {
                    sent += length;
                    desk.ledger.counts.writes += 1;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        desk.ledger.counts.bytes_written += sent as u64;
        if is_fresh {
            self.unsent.extend_from_slice(&scratch.sealed[sent..]);
            scratch.sealed.clear();
        } else {
            self.unsent.drain(..sent);
            self.unsent.shrink_to(KEPT_BYTES);
        }
        result
    }

    pub(super) fn deregister(&mut self, registry: &Registry) {
        // The socket closes right after; a failure could only say that it is gone already.
        drop(registry.deregister(&mut self.socket));
    }
}
