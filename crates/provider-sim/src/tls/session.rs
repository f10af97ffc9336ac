//! One TLS session: the handshake by rustls, and with TLS 1.3 the records after it by ourselves.

use std::sync::Arc;

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError, UnbufferedStatus,
};
use rustls::{ProtocolVersion, ServerConfig};

use super::records::Records;
use crate::error::Error;

/// The most plaintext that one record holds.
const RECORD_BYTES: usize = 16_384;
/// What a record adds to its plaintext: header, content type, tag; in TLS 1.2 also a nonce.
const RECORD_OVERHEAD_BYTES: usize = 5 + 1 + 16 + 8;
/// More than any one handshake message or alert of ours needs.
const HANDSHAKE_BYTES: usize = 4_096;

/// The server's side of one TLS session.
pub(crate) struct Session {
    state: State,
}

/// Who handles records.
enum State {
    /// rustls: during the handshake, and always with TLS 1.2.
    Rustls(Box<UnbufferedServerConnection>),
    /// We do, once TLS 1.3 is established.
    Established(Box<Records>),
    /// Nobody: the session could not be taken over.
    Failed,
}

/// What became of received bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Opened {
    /// Bytes of the buffer that are used up; the rest has to come again, with more behind it.
    pub(crate) used: usize,
    /// The client has ended the session.
    pub(crate) is_closed: bool,
}

/// Why a session ends: with an error of its own, or with that of whoever received the plaintext.
#[derive(Debug)]
pub(crate) enum Failure<E> {
    Tls,
    Receiver(E),
}

impl Session {
    pub(crate) fn new(config: &Arc<ServerConfig>) -> Result<Self, Error> {
        let tls = UnbufferedServerConnection::new(Arc::clone(config))?;
        Ok(Self { state: State::Rustls(Box::new(tls)) })
    }

    /// Opens the records in `received`; hands plaintext to `receive` and appends what has to be sent to `out`.
    pub(crate) fn open<E>(
        &mut self,
        received: &mut [u8],
        out: &mut Vec<u8>,
        mut receive: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Opened, Failure<E>> {
        let mut opened = Opened::default();
        if let State::Rustls(tls) = &mut self.state {
            open_by_rustls(tls, received, out, &mut opened, &mut receive)?;
            if !tls.is_handshaking() && tls.protocol_version() == Some(ProtocolVersion::TLSv1_3) {
                self.take_over();
            }
        }
        match &mut self.state {
            State::Established(records) => records.open(received, out, &mut opened, &mut receive)?,
            State::Rustls(_) => {}
            State::Failed => return Err(Failure::Tls),
        }
        Ok(opened)
    }

    fn take_over(&mut self) {
        if let State::Rustls(tls) = std::mem::replace(&mut self.state, State::Failed)
            && let Some(records) = Records::take_over(*tls)
        {
            self.state = State::Established(Box::new(records));
        }
    }

    /// Seals `plaintext` into `out`; false when the session cannot send (yet).
    pub(crate) fn seal(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> bool {
        let tls = match &mut self.state {
            State::Established(records) => return records.seal(plaintext, out),
            State::Rustls(tls) => tls,
            State::Failed => return false,
        };
        let UnbufferedStatus { state: Ok(ConnectionState::WriteTraffic(mut traffic)), .. } =
            tls.process_tls_records(&mut [])
        else {
            return false;
        };
        let records = plaintext.len().div_ceil(RECORD_BYTES);
        let space = plaintext.len() + records * RECORD_OVERHEAD_BYTES;
        append(out, space, |space| encrypted(traffic.encrypt(plaintext, space)));
        true
    }

    /// Appends the alert that ends the session in good order.
    pub(crate) fn close(&mut self, out: &mut Vec<u8>) {
        match &mut self.state {
            State::Established(records) => records.close(out),
            State::Rustls(tls) => {
                if let Ok(ConnectionState::WriteTraffic(mut traffic)) = tls.process_tls_records(&mut []).state
                {
                    append(out, HANDSHAKE_BYTES, |space| encrypted(traffic.queue_close_notify(space)));
                }
            }
            State::Failed => {}
        }
    }

    /// Appends a fatal alert; with TLS 1.2, whose records rustls writes, it is the one that ends in good order.
    pub(crate) fn fail(&mut self, out: &mut Vec<u8>) {
        match &mut self.state {
            State::Established(records) => records.fail(out),
            State::Rustls(_) | State::Failed => self.close(out),
        }
    }
}

fn open_by_rustls<E>(
    tls: &mut UnbufferedServerConnection,
    received: &mut [u8],
    out: &mut Vec<u8>,
    opened: &mut Opened,
    receive: &mut impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), Failure<E>> {
    loop {
        let UnbufferedStatus { mut discard, state } = tls.process_tls_records(&mut received[opened.used..]);
        let is_blocked = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record.map_err(|_| Failure::Tls)?;
                    discard += record.discard;
                    receive(record.payload).map_err(Failure::Receiver)?;
                }
                false
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                append(out, HANDSHAKE_BYTES, |space| encode(&mut data, space));
                false
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                false
            }
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                opened.is_closed = true;
                true
            }
            Ok(_) => true,
            Err(_) => {
                append_alert(tls, out);
                return Err(Failure::Tls);
            }
        };
        opened.used += discard;
        if is_blocked {
            return Ok(());
        }
    }
}

/// After an error one more turn encodes the alert that explains it.
fn append_alert(tls: &mut UnbufferedServerConnection, out: &mut Vec<u8>) {
    if let Ok(ConnectionState::EncodeTlsData(mut data)) = tls.process_tls_records(&mut []).state {
        append(out, HANDSHAKE_BYTES, |space| encode(&mut data, space));
    }
}

fn encode<D>(data: &mut EncodeTlsData<'_, D>, space: &mut [u8]) -> Result<usize, usize> {
    match data.encode(space) {
        Ok(length) => Ok(length),
        Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => Err(required_size),
        Err(EncodeError::AlreadyEncoded) => Ok(0),
    }
}

fn encrypted(result: Result<usize, EncryptError>) -> Result<usize, usize> {
    match result {
        Ok(length) => Ok(length),
        Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size })) => Err(required_size),
        Err(EncryptError::EncryptExhausted) => Ok(0),
    }
}

/// Lets `write` fill space behind `out`: `space_bytes` of it first, then as much as it says it needs.
fn append(out: &mut Vec<u8>, space_bytes: usize, mut write: impl FnMut(&mut [u8]) -> Result<usize, usize>) {
    let start = out.len();
    let mut space_bytes = space_bytes;
    let written = loop {
        out.resize(start + space_bytes, 0);
        match write(&mut out[start..]) {
            Ok(written) => break written,
            Err(needed) => space_bytes = needed,
        }
    };
    out.truncate(start + written);
}

#[cfg(test)]
mod tests;
