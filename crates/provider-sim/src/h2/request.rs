//! A request as it arrives: what its header fields said, and its body as long as that is incomplete.

use model::{Platform, Reason};

use crate::apns::{self, ApnsId};
use crate::fcm;
use crate::fingerprint::Fingerprint;
use crate::hpack::Name;

/// What a header block said.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// The names that occurred, by [`Name::bit`].
    names: u16,
    /// APNs: the device.
    pub(crate) device: Option<Fingerprint>,
    /// What was wrong first.
    pub(crate) wrong: Option<Reason>,
    pub(crate) apns_id: ApnsId,
    /// A hash of the authorization, where somebody wants to know.
    pub(crate) credential: u64,
    is_malformed: bool,
}

/// Every request has these (RFC 9113, 8.3.1).
const REQUIRED: u16 = Name::Method.bit() | Name::Path.bit() | Name::Scheme.bit();
const PSEUDO: u16 = REQUIRED | Name::Authority.bit();

impl Head {
    pub(crate) fn new() -> Self {
        Self { names: 0, device: None, wrong: None, apns_id: [0; 36], credential: 0, is_malformed: false }
    }

    /// Whether `name` occurred.
    pub(crate) fn has(&self, name: Name) -> bool {
        self.names & name.bit() != 0
    }

    /// RFC 9113, 8.1.1: a request that is none.
    pub(crate) fn is_malformed(&self) -> bool {
        self.is_malformed || self.names & REQUIRED != REQUIRED
    }

    /// Takes one field. `project` receives what an FCM path names.
    pub(crate) fn take(&mut self, to: &Receiver, name: Name, value: &[u8], project: &mut Vec<u8>) {
        self.mark(name);
        self.value(to, name, value, project);
    }

    /// Notes that a field of this name occurred here, whatever its value.
    pub(crate) fn mark(&mut self, name: Name) {
        let bit = name.bit();
        let is_pseudo = bit & PSEUDO != 0;
        self.is_malformed |= is_pseudo && (self.names & bit != 0 || self.names & !PSEUDO != 0);
        self.is_malformed |= name == Name::Malformed;
        self.names |= bit;
    }

    /// Takes the value of a field that was noted.
    #[inline]
    pub(crate) fn value(&mut self, to: &Receiver, name: Name, value: &[u8], project: &mut Vec<u8>) {
        match name {
            Name::Path => self.path(to.platform, value, project),
            Name::ApnsId => match value.try_into() {
                Ok(id) => self.apns_id = id,
                Err(_) => self.is_wrong(Reason::BadMessageId),
            },
            Name::Method if value != b"POST" => self.is_wrong(to.method_not_allowed()),
            Name::ApnsCollapseId if value.len() > apns::COLLAPSE_ID_BYTES_MAX => {
                self.is_wrong(Reason::BadCollapseId);
            }
            Name::ApnsExpiration if !value.iter().all(u8::is_ascii_digit) => {
                self.is_wrong(Reason::BadExpirationDate);
            }
            Name::Authorization if to.watches_credentials => self.credential = hash(value),
            _ => {}
        }
    }

    #[inline]
    fn path(&mut self, platform: Platform, path: &[u8], project: &mut Vec<u8>) {
        match platform {
            Platform::Apns => match apns::device(path) {
                Ok(device) => self.device = Some(device),
                Err(reason) => self.is_wrong(reason),
            },
            Platform::Fcm => match fcm::project(path) {
                Ok(named) if *named == **project => {}
                Ok(named) => *project = named.to_vec(),
                Err(reason) => self.is_wrong(reason),
            },
        }
    }

    fn is_wrong(&mut self, reason: Reason) {
        self.wrong.get_or_insert(reason);
    }
}

fn hash(text: &[u8]) -> u64 {
    (Fingerprint::of_bytes(text).to_bits() >> 64) as u64
}

/// What the reader of headers has to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receiver {
    pub(crate) platform: Platform,
    pub(crate) watches_credentials: bool,
}

impl Receiver {
    fn method_not_allowed(&self) -> Reason {
        match self.platform {
            Platform::Apns => Reason::MethodNotAllowed,
            Platform::Fcm => Reason::InvalidArgument,
        }
    }
}

/// A request whose body is not complete.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) stream: u32,
    pub(crate) head: Head,
    /// It will not be processed: above the stream limit, or above a GOAWAY's last id.
    pub(crate) is_refused: bool,
    pub(crate) body: Vec<u8>,
    /// All bytes of the body, kept or not.
    pub(crate) body_bytes: usize,
    /// Flow-controlled bytes that were not granted again on this stream.
    pub(crate) ungranted: u32,
}
