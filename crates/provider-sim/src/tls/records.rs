//! The record layer of TLS 1.3 (RFC 8446, 5) after the handshake, which rustls has done. Records are opened in the
//! buffer they were read into and sealed in the buffer they are written from: rustls would copy each of them twice.

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::kernel::KernelConnection;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::{ConnectionTrafficSecrets, ExtractedSecrets};

use super::{Failure, Opened};

const HEADER_BYTES: usize = 5;
const TAG_BYTES: usize = 16;
/// The most plaintext of one record, and the most that encryption may add to it.
const PLAINTEXT_BYTES_MAX: usize = 16_384;
const EXPANSION_BYTES_MAX: usize = 256;
/// AES-GCM keys are renewed before 2^24.5 records (RFC 8446, 5.5).
const RECORDS_MAX: u64 = 1 << 24;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const CLOSE_NOTIFY: [u8; 2] = [1, 0];
/// RFC 8446, 6.2: fatal, internal_error.
const INTERNAL_ERROR: [u8; 2] = [2, 80];
const KEY_UPDATE: [u8; 4] = [24, 0, 0, 1];

/// Both directions of a session.
pub(super) struct Records {
    receive: Half,
    send: Half,
    kernel: KernelConnection<ServerConnectionData>,
    /// Records that are sealed with one key.
    pub(super) records_max: u64,
}

/// One direction.
struct Half {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Half {
    fn new((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Option<Self> {
        let (algorithm, key, iv) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            _ => return None,
        };
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key.as_ref()).ok()?);
        Some(Self { key, iv: iv.as_ref().try_into().ok()?, sequence })
    }

    /// RFC 8446, 5.3: the sequence number, combined with the initialization vector.
    fn nonce(&mut self) -> Nonce {
        let mut nonce = self.iv;
        for (byte, number) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= number;
        }
        self.sequence += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

impl Records {
    /// Takes over a session whose handshake is done; `None` if its cipher suite is not for us. Ask only for TLS 1.3.
    pub(super) fn take_over(tls: UnbufferedServerConnection) -> Option<Self> {
        let (ExtractedSecrets { tx, rx }, kernel) = tls.dangerous_into_kernel_connection().ok()?;
        Some(Self { receive: Half::new(rx)?, send: Half::new(tx)?, kernel, records_max: RECORDS_MAX })
    }

    /// Opens whole records in `received`, from `opened.used` on.
    pub(super) fn open<E>(
        &mut self,
        received: &mut [u8],
        out: &mut Vec<u8>,
        opened: &mut Opened,
        receive: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), Failure<E>> {
        while !opened.is_closed
            && let Some((header, rest)) = received[opened.used..].split_first_chunk_mut::<HEADER_BYTES>()
        {
            let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
            if header[0] != APPLICATION_DATA || length > PLAINTEXT_BYTES_MAX + EXPANSION_BYTES_MAX {
                return Err(Failure::Tls);
            }
            let Some(sealed) = rest.get_mut(..length) else { break };
            let (kind, content) = open_one(&mut self.receive, *header, sealed).ok_or(Failure::Tls)?;
            opened.used += HEADER_BYTES + length;
            match kind {
                APPLICATION_DATA => receive(content).map_err(Failure::Receiver)?,
                ALERT => opened.is_closed = true,
                HANDSHAKE => {
                    let is_asked_for = key_update(content).ok_or(Failure::Tls)?;
                    self.update_keys(is_asked_for, out).ok_or(Failure::Tls)?;
                }
                _ => return Err(Failure::Tls),
            }
        }
        Ok(())
    }

    /// The client has new keys; it may ask for new ones of ours.
    fn update_keys(&mut self, is_asked_for: bool, out: &mut Vec<u8>) -> Option<()> {
        self.receive = Half::new(self.kernel.update_rx_secret().ok()?)?;
        if is_asked_for {
            self.renew(out)?;
        }
        Some(())
    }

    /// Sends a KeyUpdate that asks for nothing, and goes on with new keys.
    fn renew(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let [a, b, c, d] = KEY_UPDATE;
        seal_one(&mut self.send, HANDSHAKE, &[a, b, c, d, 0], out);
        self.send = Half::new(self.kernel.update_tx_secret().ok()?)?;
        Some(())
    }

    /// Seals `plaintext` into `out`; false when new keys could not be had.
    pub(super) fn seal(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> bool {
        for content in plaintext.chunks(PLAINTEXT_BYTES_MAX) {
            if self.send.sequence >= self.records_max && self.renew(out).is_none() {
                return false;
            }
            seal_one(&mut self.send, APPLICATION_DATA, content, out);
        }
        true
    }

    /// Appends the alert that ends the session in good order.
    pub(super) fn close(&mut self, out: &mut Vec<u8>) {
        seal_one(&mut self.send, ALERT, &CLOSE_NOTIFY, out);
    }

    /// Appends a fatal alert.
    pub(super) fn fail(&mut self, out: &mut Vec<u8>) {
        seal_one(&mut self.send, ALERT, &INTERNAL_ERROR, out);
    }
}

/// Whether a KeyUpdate asks for one in return. It is the only handshake message that a client may send now.
fn key_update(content: &[u8]) -> Option<bool> {
    match content.strip_prefix(&KEY_UPDATE)? {
        [0] => Some(false),
        [1] => Some(true),
        _ => None,
    }
}

/// Decrypts one record; its content type follows the content, before any padding of zeros.
fn open_one<'a>(half: &mut Half, header: [u8; HEADER_BYTES], sealed: &'a mut [u8]) -> Option<(u8, &'a [u8])> {
    let nonce = half.nonce();
    let plaintext: &[u8] = half.key.open_in_place(nonce, Aad::from(header), sealed).ok()?;
    let end = plaintext.iter().rposition(|byte| *byte != 0)?;
    Some((plaintext[end], &plaintext[..end]))
}

fn seal_one(half: &mut Half, kind: u8, content: &[u8], out: &mut Vec<u8>) {
    let length = (content.len() + 1 + TAG_BYTES) as u16;
    let [high, low] = length.to_be_bytes();
    let header = [APPLICATION_DATA, 3, 3, high, low];
    out.extend_from_slice(&header);
    let start = out.len();
    out.extend_from_slice(content);
    out.push(kind);
    let nonce = half.nonce();
    let tag = half.key.seal_in_place_separate_tag(nonce, Aad::from(header), &mut out[start..]);
    out.extend_from_slice(tag.expect("a record is far shorter than AES-GCM's limit").as_ref());
}
