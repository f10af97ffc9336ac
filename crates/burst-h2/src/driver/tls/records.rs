//! The record layer of TLS 1.3 (RFC 8446, 5) after the handshake, which rustls has done and whose keys it goes on to
//! manage. Records are opened where they were read and sealed where they are written from, by the fastest AES-GCM there
//! is for the machine; rustls would allocate each of them and copy it twice (docs/decisions/011-records.md).

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::kernel::KernelConnection;
use rustls::{
    AlertDescription, CipherSuite, ConnectionTrafficSecrets, Error, ExtractedSecrets, InvalidMessage,
    PeerMisbehaved, ProtocolVersion,
};

use crate::ConnectionError;
use crate::driver::transport::RECORD_BYTES;

const HEADER_BYTES: usize = 5;
const TAG_BYTES: usize = 16;
/// What a record takes beyond its content: header, content type and tag.
pub(super) const OVERHEAD_BYTES: usize = HEADER_BYTES + 1 + TAG_BYTES;
/// Of that, behind the content.
pub(super) const TAIL_BYTES: usize = 1 + TAG_BYTES;
/// What the encryption of others may add to a content.
const EXPANSION_BYTES_MAX: usize = 256;
/// AES-GCM keys are renewed before 2^24.5 records (RFC 8446, 5.5).
const RECORDS_MAX: u64 = 1 << 24;
/// The longest handshake message behind the handshake: a ticket has at most 2^16 bytes beside its extensions.
const MESSAGE_BYTES_MAX: usize = 1 << 17;
/// Keys that the peer may renew without sending anything in between. Each renewal costs us hashing, and an answer.
const RENEWALS_MAX: u32 = 32;
/// What may wait for a peer that renews its keys and reads nothing.
const ANSWERS_BYTES_MAX: usize = 1 << 20;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

/// Both directions of a session.
pub(super) struct Records {
    receive: Half,
    send: Half,
    kernel: KernelConnection<ClientConnectionData>,
    /// The beginning of a handshake message whose rest has not arrived.
    message: Vec<u8>,
    /// Renewals of the peer's keys since its last application data.
    renewals: u32,
    /// Records that are sealed with one key.
    records_max: u64,
}

/// What came out of received records.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Opened {
    /// Bytes of whole records.
    pub(super) used: usize,
    /// The peer sends nothing more.
    pub(super) is_closed: bool,
}

/// One direction.
struct Half {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Half {
    fn new((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Result<Half, ConnectionError> {
        let (algorithm, key, iv) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            _ => return Err(failure(Error::EncryptError)),
        };
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| failure(Error::EncryptError))?;
        let iv = iv.as_ref().try_into().map_err(|_| failure(Error::EncryptError))?;
        Ok(Half { key: LessSafeKey::new(key), iv, sequence })
    }

    /// RFC 8446, 5.3: the sequence number, combined with the initialization vector. Never the same twice for a key.
    fn nonce(&mut self) -> Nonce {
        let mut nonce = self.iv;
        for (byte, number) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= number;
        }
        self.sequence += 1;
        Nonce::assume_unique_for_key(nonce)
    }

    /// Appends a record.
    fn seal(&mut self, kind: u8, content: &[u8], out: &mut Vec<u8>) {
        let header = header(content.len());
        out.extend_from_slice(&header);
        let start = out.len();
        out.extend_from_slice(content);
        out.push(kind);
        let tag = self.seal_inner(header, &mut out[start..]);
        out.extend_from_slice(&tag);
    }

    /// Seals the content that `room` holds, where it lies. The byte behind it, the last of `room`, is lent to the content
    /// type. What stands before the sealed content and behind it is appended to `margins`.
    #[inline]
    fn seal_in_place(&mut self, room: &mut [u8], margins: &mut Vec<u8>) {
        let content_bytes = room.len() - 1;
        let header = header(content_bytes);
        let lent = std::mem::replace(&mut room[content_bytes], APPLICATION_DATA);
        let tag = self.seal_inner(header, room);
        let kind = std::mem::replace(&mut room[content_bytes], lent);
        margins.extend_from_slice(&header);
        margins.push(kind);
        margins.extend_from_slice(&tag);
    }

    /// Seals a content with its type behind it, in place; returns the tag.
    #[inline]
    fn seal_inner(&mut self, header: [u8; HEADER_BYTES], inner: &mut [u8]) -> [u8; TAG_BYTES] {
        let nonce = self.nonce();
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(header), inner);
        let tag = tag.expect("a record is far shorter than the limit of AES-GCM");
        tag.as_ref().try_into().expect("a tag of AES-GCM has 16 bytes")
    }

    /// Opens a record; its content type follows the content, before any padding of zeros.
    fn open<'a>(
        &mut self,
        header: [u8; HEADER_BYTES],
        sealed: &'a mut [u8],
    ) -> Result<(u8, &'a [u8]), Error> {
        let nonce = self.nonce();
        let plaintext = self.key.open_in_place(nonce, Aad::from(header), sealed);
        let plaintext: &[u8] = plaintext.map_err(|_| Error::DecryptError)?;
        let end = plaintext.iter().rposition(|byte| *byte != 0);
        let end = end.ok_or(Error::PeerMisbehaved(PeerMisbehaved::IllegalTlsInnerPlaintext))?;
        if end > RECORD_BYTES {
            return Err(Error::PeerSentOversizedRecord);
        }
        Ok((plaintext[end], &plaintext[..end]))
    }
}

/// The header of a record with a content of this length.
fn header(content_bytes: usize) -> [u8; HEADER_BYTES] {
    let [high, low] = ((content_bytes + 1 + TAG_BYTES) as u16).to_be_bytes();
    [APPLICATION_DATA, 3, 3, high, low]
}

/// Whether a session is one that [`Records::take_over`] can take over.
pub(super) fn suits(tls: &UnbufferedClientConnection) -> bool {
    let suite = tls.negotiated_cipher_suite().map(|suite| suite.suite());
    let is_gcm =
        matches!(suite, Some(CipherSuite::TLS13_AES_128_GCM_SHA256 | CipherSuite::TLS13_AES_256_GCM_SHA384));
    is_gcm && tls.protocol_version() == Some(ProtocolVersion::TLSv1_3)
}

impl Records {
    /// Takes over a session that [`suits`], whose handshake is done and was sent, and whose configuration permits the
    /// extraction of secrets.
    pub(super) fn take_over(tls: UnbufferedClientConnection) -> Result<Records, ConnectionError> {
        let (ExtractedSecrets { tx, rx }, kernel) =
            tls.dangerous_into_kernel_connection().map_err(ConnectionError::Tls)?;
        Ok(Records {
            receive: Half::new(rx)?,
            send: Half::new(tx)?,
            kernel,
            message: Vec::new(),
            renewals: 0,
            records_max: RECORDS_MAX,
        })
    }

    /// Seals what `room` holds, all but its last byte, where it lies, in records of [`RECORD_BYTES`]. `margins` gets what the
    /// peer must receive before the first, between two and behind the last: the first so many bytes of it as are returned,
    /// [`OVERHEAD_BYTES`] each, and the rest. When the key has done enough, a record that renews it stands before.
    pub(super) fn seal(&mut self, room: &mut [u8], margins: &mut Vec<u8>) -> Result<usize, ConnectionError> {
        margins.clear();
        let end = room.len() - 1;
        if self.send.sequence + end.div_ceil(RECORD_BYTES) as u64 > self.records_max {
            self.renew(margins)?;
        }
        let lead = margins.len() + HEADER_BYTES;
        for start in (0..end).step_by(RECORD_BYTES) {
            self.send.seal_in_place(&mut room[start..=end.min(start + RECORD_BYTES)], margins);
        }
        Ok(lead)
    }

    /// Appends the alert that ends the session in good order.
    pub(super) fn close(&mut self, out: &mut Vec<u8>) {
        const CLOSE_NOTIFY: [u8; 2] = [1, 0];
        self.send.seal(ALERT, &CLOSE_NOTIFY, out);
    }

    /// Appends a KeyUpdate that asks for nothing, and goes on with new keys.
    fn renew(&mut self, out: &mut Vec<u8>) -> Result<(), ConnectionError> {
        self.send.seal(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 0], out);
        self.send = Half::new(self.kernel.update_tx_secret().map_err(ConnectionError::Tls)?)?;
        Ok(())
    }

    /// Opens the whole records in `received` and hands their data to `sink`. What is to be said in answer goes to `out`.
    pub(super) fn open(
        &mut self,
        received: &mut [u8],
        out: &mut Vec<u8>,
        sink: &mut impl FnMut(&[u8]) -> Result<(), ConnectionError>,
    ) -> Result<Opened, ConnectionError> {
        let mut opened = Opened::default();
        while !opened.is_closed
            && let Some((header, rest)) = received[opened.used..].split_first_chunk_mut::<HEADER_BYTES>()
        {
            let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
            if header[0] != APPLICATION_DATA {
                return Err(failure(Error::InvalidMessage(InvalidMessage::InvalidContentType)));
            }
            if length > RECORD_BYTES + EXPANSION_BYTES_MAX {
                return Err(failure(Error::PeerSentOversizedRecord));
            }
            let Some(sealed) = rest.get_mut(..length) else { break };
            let (kind, content) = self.receive.open(*header, sealed).map_err(ConnectionError::Tls)?;
            opened.used += HEADER_BYTES + length;
            match kind {
                APPLICATION_DATA if self.message.is_empty() => {
                    self.renewals = 0;
                    sink(content)?;
                }
                HANDSHAKE if !content.is_empty() => {
                    self.message.extend_from_slice(content);
                    self.messages(out)?;
                }
                ALERT if self.message.is_empty() => opened.is_closed = alert(content)?,
                _ => return Err(failure(Error::InvalidMessage(InvalidMessage::InvalidContentType))),
            }
        }
        Ok(opened)
    }

    /// The handshake messages that a server may send behind the handshake: tickets and new keys.
    fn messages(&mut self, out: &mut Vec<u8>) -> Result<(), ConnectionError> {
        let unexpected =
            || failure(Error::InvalidMessage(InvalidMessage::UnexpectedMessage("behind the handshake")));
        while let Some((&[kind, high, middle, low], rest)) = self.message.split_first_chunk() {
            let length = u32::from_be_bytes([0, high, middle, low]) as usize;
            if length > MESSAGE_BYTES_MAX {
                return Err(failure(Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge)));
            }
            let Some(payload) = rest.get(..length) else { break };
            match (kind, payload) {
                (NEW_SESSION_TICKET, ticket) => {
                    self.kernel.handle_new_session_ticket(ticket).map_err(ConnectionError::Tls)?;
                }
                // The next record has other keys: nothing may follow in this one.
                (KEY_UPDATE, &[request @ (0 | 1)]) if rest.len() == length => {
                    self.update_keys(request == 1, out)?;
                }
                _ => return Err(unexpected()),
            }
            self.message.drain(..4 + length);
        }
        if self.message.is_empty() {
            // Tickets come once or twice in a session's life.
            self.message = Vec::new();
        }
        Ok(())
    }

    /// The peer has new keys; it may ask for new ones of ours.
    fn update_keys(&mut self, is_asked_for: bool, out: &mut Vec<u8>) -> Result<(), ConnectionError> {
        self.renewals += 1;
        if self.renewals > RENEWALS_MAX || out.len() > ANSWERS_BYTES_MAX {
            return Err(failure(Error::PeerMisbehaved(PeerMisbehaved::TooManyKeyUpdateRequests)));
        }
        self.receive = Half::new(self.kernel.update_rx_secret().map_err(ConnectionError::Tls)?)?;
        if is_asked_for {
            self.renew(out)?;
        }
        Ok(())
    }
}

/// Whether an alert ends the session in good order.
fn alert(content: &[u8]) -> Result<bool, ConnectionError> {
    let &[_, description] = content else {
        return Err(failure(Error::InvalidMessage(InvalidMessage::MessageTooShort)));
    };
    match AlertDescription::from(description) {
        AlertDescription::CloseNotify => Ok(true),
        AlertDescription::UserCanceled => Ok(false),
        description => Err(failure(Error::AlertReceived(description))),
    }
}

fn failure(error: Error) -> ConnectionError {
    ConnectionError::Tls(error)
}

#[cfg(test)]
mod tests;
